import Foundation
import XCTest

@testable import Ondol

#if canImport(os)
    import os
#endif

final class LogTests: XCTestCase {
    override func tearDown() {
        Log.set(.error, nil)
    }

    /// Loads a model with a fault that the library repairs and about which it warns.
    private func warning() async throws -> String {
        var file = try helloFile()
        try file.patch("tokenizer.ggml.pre", "tokenizer.ggml.prx")
        let model = try await Model.load(file.written(to: folder()))
        return try XCTUnwrap(model.info.warnings.first)
    }

    private func all(_ lines: Locked<[String]>) -> [String] {
        lines.with { $0 }
    }

    func testAWarningOfTheLibraryArrives() async throws {
        let lines = Locked([String]())
        Log.set(.warn) { level, line in lines.with { $0.append("\(level) \(line)") } }
        let expected = try await warning()
        XCTAssertEqual(all(lines).count, 1, "\(all(lines))")
        let line = try XCTUnwrap(all(lines).first)
        XCTAssertTrue(line.hasPrefix("warn ") && line.contains(expected), line)

        Log.set(.warn, nil)
        _ = try await warning()
        XCTAssertEqual(all(lines).count, 1, "after the end")
    }

    func testTheLevelDecides() throws {
        let lines = Locked([String]())
        for level in [LogLevel.debug, .info] {
            Log.set(level) { _, line in lines.with { $0.append(line) } }
            Governor().pause()
        }
        XCTAssertEqual(all(lines).count, 1, "\(all(lines))")
    }

    #if canImport(os)
        /// Uses the stand-in for Apple's log.
        func testTheSystemsLogHasItsOwnLevels() async throws {
            Log.set(.warn, Log.system)
            let expected = try await warning()
            let line = try XCTUnwrap(Logger.lines.last)
            XCTAssertTrue(line.hasPrefix("dev.ondol library default: "), line)
            XCTAssertTrue(line.contains(expected), line)
        }
    #endif
}

import Foundation
import Ondol
import XCTest

/// Nothing grows: memory, threads, open files. 100 loads and 500 generations, or 1,000
/// and 10,000 with `ONDOL_LONG`.
final class GrowthTests: XCTestCase {
    private func count(_ short: Int, _ long: Int) -> Int {
        ProcessInfo.processInfo.environment["ONDOL_LONG"] == nil ? short : long
    }

    func testLoadsAndCloses() async throws {
        let file = try helloFile().written(to: folder())
        try await grows(by: 2 << 20, times: count(100, 1000)) { round in
            let model = try await Model.load(file)
            let conversation = try model.conversation()
            let one = AnswerOptions(temperature: 0, maxTokens: 1)
            _ = try await answer(conversation, "Hello!", one)
            if round % 2 == 0 {
                conversation.close()
            }
        }
    }

    func testGenerations() async throws {
        let model = try await hello()
        var conversation = try model.conversation()
        let three = AnswerOptions(temperature: 0, maxTokens: 3)
        try await grows(by: 2 << 20, times: count(500, 10_000)) { round in
            switch round % 4 {
            case 0:
                conversation = try model.conversation()
                _ = try await answer(conversation, "Hello!", three)
            case 1:
                for try await _ in conversation.send("안녕하세요", options: long) { break }
            case 2:
                let conversation = conversation
                let task = Task {
                    for try await _ in conversation.send("Hello!", options: long) {}
                }
                task.cancel()
                try await task.value
            default:
                let why = await code {
                    try await answer(conversation, "Hello!", AnswerOptions(topP: 2))
                }
                XCTAssertEqual(why, 36)
            }
        }
    }

    /// Runs the work a fifth of the times, so that permanent allocations are made, then the
    /// rest, and compares what the process holds before and after the rest.
    private func grows(
        by most: Int, times: Int, _ work: (Int) async throws -> Void
    ) async throws {
        for round in 0..<times / 5 {
            try await work(round)
        }
        let before = try await settled()
        for round in 0..<times {
            try await work(round)
        }
        let after = try await settled()
        print("\(times) times: \(before); then \(after)")
        XCTAssertLessThan(after.memory - before.memory, most)
        XCTAssertEqual(after.files, before.files)
        XCTAssertLessThanOrEqual(after.ondolThreads, before.ondolThreads)
        // Threads of Swift and of the system's queues come and go.
        XCTAssertLessThan(after.threads, before.threads + 16)
    }

    /// What the process holds after the threads of ended answers have ended.
    private func settled() async throws -> Holdings {
        var last = try Holdings.now()
        for _ in 0..<50 {
            try await Task.sleep(nanoseconds: 20_000_000)
            let now = try Holdings.now()
            if now.threads == last.threads, now.files == last.files {
                return now
            }
            last = now
        }
        return last
    }
}

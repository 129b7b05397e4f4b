import Foundation
import Ondol
import XCTest

/// Every kind of error that an app can provoke with the built-in model, a damaged copy of
/// it, or wrong options. `GlueTests` tests all kinds; the kinds that are not here need
/// another model (22, 37), calls that this package does not have (32, 33, 40, 41), or a
/// disk that fails (43).
final class ErrorTests: XCTestCase {
    func testDamagedFilesAreToldApart() async throws {
        let good = try helloFile()
        let damages: [(Int, String, (inout Data) throws -> Void)] = [
            (11, "no magic", { try $0.patch("GGUF", "GGML") }),
            (12, "half a file", { $0 = $0.prefix($0.count / 2) }),
            (12, "empty", { $0 = $0.prefix(7) }),
            (13, "version", { try $0.patch("GGUF\u{3}", "GGUF\u{9}") }),
            (14, "type", { try $0.patch(Array("output_norm.weight".utf8), [99], skip: 30) }),
            (15, "packing", {
                try $0.patch(Array("output_norm.weight".utf8), [8, 99, 0x4E, 0x4F], skip: 30)
            }),
            (16, "architecture", { try $0.patch("llama\u{c}", "lIama\u{c}") }),
            (17, "key", { try $0.patch("llama.block_count", "llama.block_cXunt") }),
            (18, "value", { try $0.patch("gpt2", "gptX") }),
            (19, "tensor", { try $0.patch("output_norm.weight", "output_nXrm.weight") }),
            (20, "shape", { try $0.patch(Array("output_norm.weight".utf8), [96], skip: 22) }),
            (21, "offset", { try $0.patch(Array("output_norm.weight".utf8), [1], skip: 34) }),
            (23, "template", { try $0.patch("{% endfor %}", "{% endfXr %}") }),
        ]
        let home = try folder()
        for (expected, what, damage) in damages {
            var bytes = good
            try damage(&bytes)
            let url = try bytes.written(to: home)
            let why = await code {
                // A template is compiled when it is needed.
                try await answer(Model.load(url).conversation(), "Hello!")
            }
            XCTAssertEqual(why, expected, what)
        }
    }

    func testAFileThatIsNotThereOrIsRemoved() async throws {
        let absent = await code { try await Model.load(URL(fileURLWithPath: "/nowhere.gguf")) }
        XCTAssertEqual(absent, 10)
        let network = await code { try await Model.load(URL(string: "https://a.example/b")!) }
        XCTAssertEqual(network, 1)

        let url = try helloFile().written(to: folder())
        let model = try await Model.load(url)
        let before = try await answer(model.conversation(), "Hello!").text
        try FileManager.default.removeItem(at: url)
        let after = try await answer(model.conversation(), "Hello!").text
        XCTAssertEqual(before, after, "what is mapped stays")
        let gone = await code { try await Model.load(url) }
        XCTAssertEqual(gone, 10)
    }

    func testWhatIsTooLargeIsRefused() async throws {
        let model = try await hello(LoadOptions(memoryLimit: 1000))
        let refused = await error { try model.conversation() }
        guard case .doesNotFit(let needed, 1000, let detail) = refused else {
            return XCTFail("\(String(describing: refused))")
        }
        XCTAssertGreaterThan(needed, 1000)
        XCTAssertTrue(detail.contains("1000"), detail)

        let short = try await hello(LoadOptions(context: 64)).conversation()
        let full = await error { try await answer(short, longText) }
        guard case .contextFull(_, 64, _) = full else {
            return XCTFail("\(String(describing: full))")
        }
        let history = try await short.history()
        XCTAssertEqual(history, [])
        let ended = try await answer(short, "Hello!", long).reason
        XCTAssertEqual(ended, .contextFull)
    }

    func testOptionsOutOfRange() async throws {
        let home = try folder()
        let wrong = [
            (1, LoadOptions(threads: -1)),
            (1, LoadOptions(context: Int(UInt32.max) + 1)),
            (1, LoadOptions(prefillChunk: 0)),
            (35, LoadOptions(kernels: "fastest")),
            (42, LoadOptions(delegate: DelegateOptions(plugIn: home.appendingPathComponent("no")))),
            (1, LoadOptions(
                delegate: DelegateOptions(plugIn: home, deadlineMilliseconds: 0))),
        ]
        for (expected, options) in wrong {
            let why = await code { try await hello(options) }
            XCTAssertEqual(why, expected, "\(options)")
        }
        let conversation = try await hello().conversation()
        for (expected, options) in [(36, AnswerOptions(topP: 2)), (1, AnswerOptions(topK: -1))] {
            let why = await code { try await answer(conversation, "Hello!", options) }
            XCTAssertEqual(why, expected)
        }
        let history = try await conversation.history()
        XCTAssertEqual(history, [])
    }

    func testAFolderForCopiesThatIsNone() async throws {
        let url = try helloFile().written(to: folder())
        let model = try await Model.load(url, options: LoadOptions(packedFolder: url))
        XCTAssertNil(model.info.packedCopy)
        XCTAssertNotNil(model.info.noPackedCopy)
        _ = try await answer(model.conversation(), "Hello!")
    }

    func testADamagedSavedConversation() async throws {
        let model = try await hello()
        let conversation = try model.conversation()
        _ = try await answer(conversation, "Hello!")
        let file = try folder().appendingPathComponent("chat")
        try await conversation.save(to: file)
        try Data(contentsOf: file).dropLast().write(to: file)
        let why = await code { try await model.restoreConversation(from: file) }
        XCTAssertEqual(why, 38)
    }

    func testMemoryPressureRefusesConversations() async throws {
        let governor = Governor()
        let model = try await Model.load(.hello, governor: governor)
        governor.setMemoryPressure(.critical)
        let why = await code { try model.conversation() }
        XCTAssertEqual(why, 39)
        governor.setMemoryPressure(.low)
        governor.setMemoryPressure(.normal)
        for state in ThermalState.allCases {
            governor.setThermal(state)
            _ = try await answer(model.conversation(), "Hello!")
        }
        governor.pause()
        XCTAssertTrue(governor.isPaused)
        governor.resume()
        XCTAssertFalse(governor.isPaused)
    }
}

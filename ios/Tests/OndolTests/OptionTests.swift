import Foundation
import Ondol
import XCTest

final class OptionTests: XCTestCase {
    func testOptionsAreCodableAndNilIsLeftOut() throws {
        XCTAssertEqual(try json(LoadOptions()), "{}")
        XCTAssertEqual(try json(AnswerOptions()), "{}")
        let load = LoadOptions(
            threads: 2, context: 64, kvType: .q8_0, memoryLimit: 1 << 40,
            packedFolder: URL(fileURLWithPath: "/a"),
            delegate: DelegateOptions(plugIn: URL(fileURLWithPath: "/b"), strict: true))
        XCTAssertEqual(try again(load), load)
        XCTAssertTrue(try json(load).contains("\"kvType\":\"q8_0\""))
        let answer = AnswerOptions(temperature: 0.5, seed: .max, stop: ["한"])
        XCTAssertEqual(try again(answer), answer)
    }

    func testEveryOptionReachesTheLibrary() async throws {
        let model = try await hello(
            LoadOptions(
                threads: 1, context: 128, kvType: .q8_0, prefillChunk: 8, drafts: 0,
                memoryLimit: 1 << 30, kernels: "scalar", bigCores: false, packedLimit: 1))
        XCTAssertEqual(model.info.context, 128)
        let f16 = try await hello(LoadOptions(context: 128)).memory().kvCache
        XCTAssertLessThan(try model.memory().kvCache, f16)
        let options = AnswerOptions(
            temperature: 1, topK: 40, topP: 0.9, minP: 0.01, repetitionPenalty: 1.1,
            frequencyPenalty: 0.1, presencePenalty: 0.1, penaltyWindow: 32, seed: 3,
            maxTokens: 9, stop: ["zzz"])
        let first = try await ask(model, options)
        let second = try await ask(model, options)
        XCTAssertEqual(first.tokens, second.tokens, "the same seed")
        let stopped = AnswerOptions(temperature: 0, stop: ["o"])
        let whole = try await ask(model, stopped)
        XCTAssertEqual(whole.reason, .stop)
        XCTAssertFalse(whole.text.contains("o"))
    }

    private func ask(_ model: Model, _ options: AnswerOptions) async throws -> Whole {
        try await answer(model.conversation(), "Hello!", options)
    }

    private func json(_ value: some Encodable) throws -> String {
        String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
    }

    private func again<T: Codable>(_ value: T) throws -> T {
        try JSONDecoder().decode(T.self, from: JSONEncoder().encode(value))
    }
}

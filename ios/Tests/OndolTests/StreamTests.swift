import Foundation
import Ondol
import XCTest

final class StreamTests: XCTestCase {
    func testAnswersStreamInKoreanAndEnglish() async throws {
        let model = try await hello()
        for question in ["Hello!", "안녕하세요"] {
            var pieces: [String] = []
            for try await token in try model.conversation().send(question, options: greedy) {
                pieces.append(token.text)
            }
            XCTAssertGreaterThan(pieces.count, 2, question)
            let hangul = pieces.joined().contains { ("가"..."힣").contains($0) }
            XCTAssertEqual(hangul, question != "Hello!", pieces.joined())
        }
    }

    /// The first text arrives while the rest is still to be generated.
    func testTextArrivesBeforeTheAnswerEnds() async throws {
        let conversation = try await hello(slow).conversation()
        var first: Bool?
        for try await _ in conversation.send("Hello!", options: lengthy) where first == nil {
            first = conversation.isAnswering
        }
        XCTAssertEqual(first, true)
    }

    func testPromptAndEndAreReported() async throws {
        let conversation = try await hello(slow).conversation()
        let whole = try await answer(conversation, "Hello!")
        XCTAssertEqual(whole.prompts.last, whole.stats.promptTokens)
        XCTAssertEqual(whole.prompts, whole.prompts.sorted())
        XCTAssertGreaterThan(whole.prompts.count, 2)
        XCTAssertEqual(whole.reason, .end)
        XCTAssertGreaterThan(whole.stats.decodeTokensPerSecond, 0)
        let three = AnswerOptions(temperature: 0, maxTokens: 3)
        let short = try await answer(conversation, "Hello!", three)
        XCTAssertEqual(short.reason, .maxTokens)
        XCTAssertEqual(short.stats.generatedTokens, 3)
    }

    /// Two tokens of an answer get the halves of an emoji as their bytes.
    func testAnEmojiAcrossTwoTokensArrivesWhole() async throws {
        let plain = try await answer(hello().conversation(), "안녕하세요")
        let model = try await hello()
        let prompt = Set(try model.encode("안녕하세요"))
        let ids = plain.tokens.compactMap(\.id)
        let pairs = zip(ids, ids.dropFirst())
        let (first, second) = try XCTUnwrap(
            pairs.first { first, second in
                let texts = [first, second].map { (try? model.decode([$0])) ?? "" }
                let whole = texts.allSatisfy { text in
                    let stored = byteLevel(text).utf8.count
                    return !text.contains("\u{FFFD}") && stored >= 4 && stored % 2 == 0
                }
                return whole && first != second && prompt.isDisjoint(with: [first, second])
                    && ids.filter { $0 == first || $0 == second }.count == 2
            })
        var file = try helloFile()
        let emoji = Array("🙂".utf8)
        try file.replaceToken(try model.decode([first]), withBytes: Array(emoji[..<2]))
        try file.replaceToken(try model.decode([second]), withBytes: Array(emoji[2...]))
        let patched = try await Model.load(file.written(to: folder()))
        XCTAssertTrue(try patched.decode([first]).contains("\u{FFFD}"), "a half alone")

        let whole = try await answer(patched.conversation(), "안녕하세요")
        XCTAssertEqual(whole.tokens.compactMap(\.id).filter { $0 == second }, [second])
        XCTAssertTrue(whole.text.contains("🙂"), whole.text)
        for token in whole.tokens {
            XCTAssertFalse(token.text.contains("\u{FFFD}"), whole.text)
            XCTAssertFalse(token.text.isEmpty)
        }
    }

    func testTextGoesBothWaysUnchanged() async throws {
        let model = try await hello()
        let text = "한글, emoji 👩‍👩‍👧‍👦 and a zero \0."
        XCTAssertEqual(try model.decode(model.encode(text)), text)
        XCTAssertEqual(try model.countTokens(text), try model.encode(text).count)
        let conversation = try model.conversation(
            system: text, messages: [ChatMessage(role: "user", content: text)])
        let history = try await conversation.history()
        XCTAssertEqual(history.map(\.content), [text, text])
        XCTAssertEqual(history.map(\.role), ["system", "user"])
        let tokens = try await conversation.countTokens()
        XCTAssertEqual(tokens, try model.countTokens(history))
    }

    func testASecondTurnComputesItsNewTokensOnly() async throws {
        let conversation = try await hello().conversation()
        let first = try await answer(conversation, "Hello!").stats
        let second = try await answer(conversation, "안녕하세요").stats
        XCTAssertGreaterThanOrEqual(
            second.cachedTokens + 1, first.promptTokens + first.generatedTokens)
    }

    func testTwoConversationsAtOnceAnswerAsAlone() async throws {
        let model = try await hello()
        let questions = ["Hello!", "안녕하세요", "Tell me a story."]
        var alone: [String] = []
        for question in questions {
            alone.append(try await answer(model.conversation(), question).text)
        }
        let together = try await withThrowingTaskGroup(of: (Int, String).self) { group in
            for (index, question) in questions.enumerated() {
                group.addTask {
                    (index, try await answer(model.conversation(), question).text)
                }
            }
            return try await group.reduce(into: [Int: String]()) { $0[$1.0] = $1.1 }
        }
        XCTAssertEqual(together, Dictionary(uniqueKeysWithValues: alone.enumerated().map { $0 }))
    }

    func testForksSavedOnesAndTruncatedOnesGoOn() async throws {
        let model = try await hello()
        let conversation = try model.conversation()
        let first = try await answer(conversation, "Hello!")
        let file = try folder().appendingPathComponent("chat")
        try await conversation.save(to: file)
        let fork = try await conversation.fork()
        let expected = try await answer(conversation, "안녕하세요").text
        let forked = try await answer(fork, "안녕하세요").text
        XCTAssertEqual(forked, expected)
        let restored = try await answer(model.restoreConversation(from: file), "안녕하세요")
        XCTAssertEqual(restored.text, expected)
        XCTAssertGreaterThanOrEqual(
            restored.stats.cachedTokens + 1, first.stats.promptTokens + first.stats.generatedTokens)
        try await conversation.truncate(0)
        let again = try await answer(conversation, "Hello!").text
        XCTAssertEqual(again, first.text)
    }

    func testPrewarmComputesTheSystemMessage() async throws {
        let model = try await hello()
        try await model.prewarm()
        let conversation = try model.conversation(system: "Answer in Korean.")
        try await conversation.prewarm()
        let stats = try await answer(conversation, "Hello!").stats
        XCTAssertGreaterThan(stats.cachedTokens, 0)
    }

    func testAModelLoadsFromAFileAPartOfOneAndWithAPackedCopy() async throws {
        let expected = try await answer(hello().conversation(), "Hello!").text
        let bytes = try helloFile(), home = try folder()
        let whole = try await Model.load(bytes.written(to: home))
        XCTAssertEqual(whole.info.fileBytes, bytes.count)
        let text = try await answer(whole.conversation(), "Hello!").text
        XCTAssertEqual(text, expected)

        let package = try (Data("odd".utf8) + bytes + Data("rest".utf8)).written(to: home, "in")
        let part = ModelSource.part(package, offset: 3, length: bytes.count)
        let inside = try await answer(Model.load(part).conversation(), "Hello!").text
        XCTAssertEqual(inside, expected)

        let options = LoadOptions(packedFolder: home.appendingPathComponent("copies"))
        let stages = Seen()
        let packed = try await Model.load(
            home.appendingPathComponent("model.gguf"), options: options
        ) { stages.add($0) }
        let fromCopy = try await answer(packed.conversation(), "Hello!").text
        XCTAssertEqual(fromCopy, expected)
        XCTAssertEqual(stages.all.last?.stage, packed.info.packedCopy == nil ? nil : .packing)
    }

    func testMemoryIsKnownBeforeLoading() async throws {
        let before = try await Model.memoryBeforeLoad(.hello)
        let model = try await hello()
        XCTAssertEqual(try model.memory(), before)
        XCTAssertLessThan(try model.memory(context: 64).kvCache, before.kvCache)
        XCTAssertGreaterThan(before.furtherConversation, 0)
        model.releaseUnused()
    }
}

final class Seen: @unchecked Sendable {
    // Unchecked: a lock guards the state.
    private let lock = NSLock()
    private var seen: [LoadProgress] = []

    func add(_ progress: LoadProgress) {
        lock.withLock { seen.append(progress) }
    }

    var all: [LoadProgress] {
        lock.withLock { seen }
    }
}

/// A text in the form of byte-level BPE vocabularies: a printable character for each byte.
private func byteLevel(_ text: String) -> String {
    String(text.utf8.map(byteLevel))
}

private func byteLevel(_ byte: UInt8) -> Character {
    let plain = [33...126, 161...172, 174...255] as [ClosedRange<UInt8>]
    if plain.contains(where: { $0.contains(byte) }) {
        return Character(Unicode.Scalar(byte))
    }
    let others = (UInt8.min...UInt8.max).filter { other in
        !plain.contains { $0.contains(other) }
    }
    let place = others.firstIndex(of: byte) ?? 0
    return Character(Unicode.Scalar(UInt32(256 + place)) ?? " ")
}

extension Data {
    /// Gives a token of the vocabulary other bytes, and fills its name up with letters.
    fileprivate mutating func replaceToken(_ text: String, withBytes bytes: [UInt8]) throws {
        let old = Array(byteLevel(text).utf8)
        let halves = Array(String(bytes.map(byteLevel)).utf8)
        let letters = Array(repeating: UInt8(ascii: "x"), count: old.count - halves.count)
        let first = bytes[0] == 0xF0
        let new = first ? letters + halves : halves + letters
        let length = Swift.withUnsafeBytes(of: UInt64(old.count).littleEndian, Array.init)
        try patch(length + old, new, skip: 8)
    }
}

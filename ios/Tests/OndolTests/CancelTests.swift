import Foundation
import Ondol
import XCTest

final class CancelTests: XCTestCase {
    func testAConsumerThatLeavesInThePromptEndsIt() async throws {
        try await leaves(longText, history: []) { event in
            guard case .prompt(let done, let total) = event else { return false }
            return done > 0 && done < total / 2
        }
    }

    func testAConsumerThatLeavesInTheAnswerEndsIt() async throws {
        try await leaves("Hello!", history: ["user", "assistant"]) { event in
            if case .token = event { true } else { false }
        }
    }

    /// Leaves an answer at an event: it ends within 100 ms, and the next answer is correct.
    /// Other programs use the machine's cores, so the best of five tries counts.
    private func leaves(
        _ question: String, history: [String], at wanted: (AnswerEvent) -> Bool
    ) async throws {
        let model = try await hello(slow)
        var best = Double.infinity
        for _ in 0..<5 {
            let conversation = try model.conversation()
            var left = Date()
            for try await event in conversation.events(question, options: long) {
                if wanted(event) {
                    left = Date()
                    break
                }
            }
            let ended = try await within(seconds: 5) { !conversation.isAnswering }
            XCTAssertTrue(ended)
            best = min(best, Date().timeIntervalSince(left))
            let roles = try await conversation.history().map(\.role)
            XCTAssertEqual(roles, history)

            try await conversation.truncate(0)
            let text = try await answer(conversation, "Hello!", brief).text
            let expected = try await answer(model.conversation(), "Hello!", brief).text
            XCTAssertEqual(text, expected)
        }
        print("ended \(Int(best * 1e6)) us after the consumer left")
        XCTAssertLessThan(best, 0.1)
    }

    func testACancelledTaskEndsItsAnswer() async throws {
        let model = try await hello(slow)
        var best = Double.infinity
        for _ in 0..<5 {
            let conversation = try model.conversation()
            let task = Task {
                for try await _ in conversation.send(longText, options: long) {}
                return Task.isCancelled
            }
            let began = try await within(seconds: 5) { conversation.isAnswering }
            XCTAssertTrue(began)
            let cancelled = Date()
            task.cancel()
            let told = try await task.value
            XCTAssertTrue(told)
            let ended = try await within(seconds: 5) { !conversation.isAnswering }
            XCTAssertTrue(ended)
            best = min(best, Date().timeIntervalSince(cancelled))
        }
        XCTAssertLessThan(best, 0.1)
    }

    /// After a cancel at any moment the next question is answered, and never refused.
    func testTheNextQuestionIsNeverRefused() async throws {
        let model = try await hello(slow)
        let expected = try await answer(model.conversation(), "Hello!", brief).text
        for round in 0..<45 {
            let conversation = try model.conversation()
            let task = Task {
                for try await _ in conversation.send(longText, options: long) {}
            }
            try await Task.sleep(nanoseconds: UInt64(round) * 200_000)
            task.cancel()
            switch round % 3 {
            case 0:
                // Ask at once, when the first answer may not have begun yet.
                _ = try await answer(conversation, "Hello!", brief)
            case 1:
                try await task.value
                let fork = try await conversation.fork()
                try await fork.truncate(0)
                let text = try await answer(fork, "Hello!", brief).text
                XCTAssertEqual(text, expected)
            default:
                try await task.value
                try await conversation.truncate(0)
                let text = try await answer(conversation, "Hello!", brief).text
                XCTAssertEqual(text, expected)
            }
        }
    }

    func testAnAnswerThatGoesOnRefusesAnother() async throws {
        let conversation = try await hello(slow).conversation()
        var refused: OndolError?
        var tokens = 0
        for try await _ in conversation.send("Hello!", options: lengthy) {
            tokens += 1
            if tokens == 1 {
                refused = await error { try await answer(conversation, "More") }
            }
        }
        guard case .busy = refused else { return XCTFail("\(String(describing: refused))") }
        XCTAssertGreaterThan(tokens, 1, "the first goes on")
    }

    func testCancelOfTheConversationIsReported() async throws {
        let conversation = try await hello(slow).conversation()
        var reason: FinishReason?
        for try await event in conversation.events("Hello!", options: long) {
            switch event {
            case .token: conversation.cancel()
            case .end(let why, _): reason = why
            case .prompt: break
            }
        }
        XCTAssertEqual(reason, .cancelled)
        conversation.cancel()
    }

    func testPrewarmIsCancelledWithItsTask() async throws {
        let model = try await hello(slow)
        let messages = [ChatMessage(role: "user", content: longText)]
        let conversation = try model.conversation(messages: messages)
        let task = Task { try await conversation.prewarm() }
        let began = try await within(seconds: 5) { conversation.isAnswering }
        XCTAssertTrue(began)
        task.cancel()
        do {
            try await task.value
            XCTFail("no error")
        } catch {
            XCTAssertTrue(error is CancellationError, "\(error)")
        }
        // This time `conversation.cancel()` cancels `prewarm`, not its task.
        let second = Task { try await conversation.prewarm() }
        let beganAgain = try await within(seconds: 5) { conversation.isAnswering }
        XCTAssertTrue(beganAgain)
        conversation.cancel()
        let why = await code { try await second.value }
        XCTAssertEqual(why, 34)
    }

    func testLoadIsCancelledWithItsTask() async throws {
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await hello()
        }
        do {
            _ = try await task.value
            XCTFail("no error")
        } catch {
            XCTAssertTrue(error is CancellationError, "\(error)")
        }
    }

    func testCloseEndsAnAnswerAndLaterCallsSaySo() async throws {
        let model = try await hello(slow)
        let conversation = try model.conversation()
        var reason: FinishReason?
        for try await event in conversation.events("Hello!", options: long) {
            switch event {
            case .token: conversation.close()
            case .end(let why, _): reason = why
            case .prompt: break
            }
        }
        XCTAssertEqual(reason, .cancelled)
        conversation.close()
        let nowhere = URL(fileURLWithPath: "/nowhere")
        let codes = [
            await code { try await answer(conversation, "Hello!") },
            await code { try await conversation.history() },
            await code { try await conversation.truncate(0) },
            await code { try await conversation.countTokens() },
            await code { try await conversation.fork() },
            await code { try await conversation.save(to: nowhere) },
            await code { try await conversation.prewarm() },
        ]
        XCTAssertEqual(codes, Array(repeating: 6, count: codes.count))
        XCTAssertFalse(conversation.isAnswering)
        _ = try await answer(model.conversation(), "Hello!")
    }

    /// The references to the model and the conversation are released; the stream continues.
    func testAStreamKeepsWhatItNeeds() async throws {
        let stream = try await hello().conversation().send("Hello!", options: greedy)
        var text = ""
        for try await token in stream {
            text += token.text
        }
        let expected = try await answer(hello().conversation(), "Hello!").text
        XCTAssertEqual(text, expected)
    }

    func testAPausedAnswerWaitsAndIsCancelledAllTheSame() async throws {
        let governor = Governor()
        let model = try await Model.load(.hello, governor: governor)
        governor.pause()
        let conversation = try model.conversation()
        let task = Task { try await answer(conversation, "Hello!", long) }
        let began = try await within(seconds: 5) { conversation.isAnswering }
        XCTAssertTrue(began)
        try await Task.sleep(nanoseconds: 50_000_000)
        XCTAssertTrue(conversation.isAnswering)
        task.cancel()
        _ = try await task.value
        let ended = try await within(seconds: 5) { !conversation.isAnswering }
        XCTAssertTrue(ended)
        governor.resume()
        _ = try await answer(conversation, "Hello!")
    }
}

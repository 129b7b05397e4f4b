#if canImport(FoundationModels, _version: 2)
    import Foundation
    import FoundationModels
    import Ondol
    import OndolFoundationModels
    import XCTest

    /// Acts as Apple's session: it keeps the transcript and one executor.
    private struct Session {
        let model: OndolLanguageModel
        let executor: OndolExecutor
        var entries: [Transcript.Entry]

        init(_ model: OndolLanguageModel, instructions: String) throws {
            self.model = model
            executor = try OndolExecutor(configuration: model.executorConfiguration)
            entries = [.instructions(.init(segments: text(instructions), toolDefinitions: []))]
        }

        struct Turn {
            var text = ""
            var total = 0
            var cached = 0
            var generated = 0
            var computed: Int { total - cached }
        }

        mutating func respond(
            to prompt: String, _ options: GenerationOptions = short,
            tools: [Transcript.ToolDefinition] = [], schema: GenerationSchema? = nil
        ) async throws -> Turn {
            entries.append(.prompt(.init(segments: text(prompt))))
            let request = LanguageModelExecutorGenerationRequest(
                id: UUID(), transcript: Transcript(entries: entries), enabledTools: tools,
                schema: schema, generationOptions: options, contextOptions: ContextOptions(),
                metadata: [:])
            let channel = LanguageModelExecutorGenerationChannel()
            try await executor.respond(to: request, model: model, streamingInto: channel)
            var turn = Turn()
            for action in await channel.sent {
                switch action {
                case .appendText(let piece, _): turn.text += piece
                case .updateUsage(let input, let output):
                    turn.total = input.totalTokenCount
                    turn.cached = input.cachedTokenCount
                    turn.generated = output.totalTokenCount
                case .updateMetadata: break
                }
            }
            entries.append(.response(.init(segments: text(turn.text))))
            return turn
        }
    }

    private let short = GenerationOptions(samplingMode: .greedy, maximumResponseTokens: 16)

    private func text(_ content: String) -> [Transcript.Segment] {
        [.text(.init(content: content))]
    }

    final class SessionTests: XCTestCase {
        private func session() async throws -> Session {
            let model = OndolLanguageModel(try await Model.load(.hello))
            return try Session(model, instructions: "Answer in Korean.")
        }

        func testThreeTurnsComputeTheirNewTokensOnly() async throws {
            var session = try await session()
            var last = try await session.respond(to: "Hello!")
            XCTAssertEqual(last.cached, 0)
            for question in ["안녕하세요", "What is Ondol?"] {
                let turn = try await session.respond(to: question)
                let had = last.total + last.generated
                // The last token that was generated was not computed yet.
                XCTAssertLessThanOrEqual(turn.computed, turn.total - had + 1, question)
                XCTAssertLessThan(turn.computed, turn.total / 2, question)
                print("\(turn.computed) of \(turn.total) tokens computed")
                last = turn
            }
        }

        func testApplesSessionAnswersAsAConversation() async throws {
            let model = try await Model.load(.hello)
            let session = LanguageModelSession(
                model: OndolLanguageModel(model), instructions: "Answer in Korean.")
            let conversation = try model.conversation(system: "Answer in Korean.")
            let options = AnswerOptions(temperature: 0, maxTokens: 16)
            for question in ["Hello!", "안녕하세요", "What is Ondol?"] {
                let response = try await session.respond(to: question, options: short)
                var expected = ""
                for try await token in conversation.send(question, options: options) {
                    expected += token.text
                }
                XCTAssertEqual(response.content, expected)
            }
        }

        func testATranscriptThatWasShortenedKeepsWhatItHas() async throws {
            var session = try await session()
            let first = try await session.respond(to: "Hello!")
            let second = try await session.respond(to: "안녕하세요")
            session.entries.removeLast(2)
            let again = try await session.respond(to: "안녕하세요")
            XCTAssertEqual(again.text, second.text)
            XCTAssertGreaterThanOrEqual(again.cached + 1, first.total + first.generated)
        }

        func testATranscriptThatWasChangedIsAnsweredAnew() async throws {
            var session = try await session()
            _ = try await session.respond(to: "Hello!")
            session.entries[2] = .response(.init(segments: text("Something else.")))
            let turn = try await session.respond(to: "안녕하세요")
            XCTAssertFalse(turn.text.isEmpty)
            let conversation = try session.model.model.conversation(
                system: "Answer in Korean.",
                messages: [
                    ChatMessage(role: "user", content: "Hello!"),
                    ChatMessage(role: "assistant", content: "Something else."),
                ])
            var expected = ""
            let options = AnswerOptions(temperature: 0, maxTokens: 16)
            for try await token in conversation.send("안녕하세요", options: options) {
                expected += token.text
            }
            XCTAssertEqual(turn.text, expected)
        }

        func testPrewarmComputesTheInstructions() async throws {
            var session = try await session()
            session.executor.prewarm(
                model: session.model, transcript: Transcript(entries: session.entries))
            try await Task.sleep(nanoseconds: 200_000_000)
            let turn = try await session.respond(to: "Hello!")
            XCTAssertGreaterThan(turn.cached, 0)
        }

        func testACancelledTurnEndsAndTheNextIsRight() async throws {
            var session = try await session()
            let first = try await session.respond(to: "Hello!")
            let copy = session
            let long = GenerationOptions(temperature: 1.5)
            let task = Task {
                var session = copy
                return try await session.respond(to: "Tell me a story.", long)
            }
            try await Task.sleep(nanoseconds: 3_000_000)
            task.cancel()
            _ = try? await task.value
            let next = try await session.respond(to: "안녕하세요")
            XCTAssertGreaterThanOrEqual(next.cached + 1, first.total + first.generated)
        }

        func testWhatIsNotTextIsRefused() async throws {
            let start = try await session()
            let tool = Transcript.ToolDefinition(
                name: "a", description: "b", parameters: GenerationSchema())
            await refuses(.toolCalling) {
                var session = start
                _ = try await session.respond(to: "Hello!", tools: [tool])
            }
            await refuses(.guidedGeneration) {
                var session = start
                _ = try await session.respond(to: "Hello!", schema: GenerationSchema())
            }
            await refuses(.vision) {
                var session = start
                session.entries.append(.prompt(.init(segments: [.attachment(.init())])))
                _ = try await session.respond(to: "Hello!")
            }
            for capability in [.toolCalling, .vision, .reasoning, .guidedGeneration]
                as [LanguageModelCapabilities.Capability]
            {
                XCTAssertFalse(start.model.capabilities.contains(capability))
            }
        }

        func testAContextThatIsTooSmall() async throws {
            var session = try await session()
            do {
                _ = try await session.respond(to: String(repeating: "안녕하세요 ", count: 300))
                XCTFail("no error")
            } catch LanguageModelError.contextSizeExceeded(let why) {
                XCTAssertEqual(why.contextSize, 512)
                XCTAssertGreaterThan(why.tokenCount, 512)
            }
        }

        private func refuses(
            _ capability: LanguageModelCapabilities.Capability,
            _ work: () async throws -> Void
        ) async {
            do {
                try await work()
                XCTFail("no error")
            } catch LanguageModelError.unsupportedCapability(let why) {
                XCTAssertEqual(why.capability, capability)
            } catch {
                XCTFail("\(error)")
            }
        }
    }
#endif

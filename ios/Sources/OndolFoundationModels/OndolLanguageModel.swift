// Version 2 of the module, in the SDK of iOS 27, has the protocols for other models.
#if canImport(FoundationModels, _version: 2)
    import Foundation
    import FoundationModels
    import Ondol

    /// An Ondol model for Apple's session: `LanguageModelSession(model:)`.
    ///
    /// A turn computes only its new tokens. Answers are text; tools, schemas and images
    /// are refused with `LanguageModelError.unsupportedCapability`.
    @available(iOS 27.0, macOS 27.0, visionOS 27.0, *)
    public struct OndolLanguageModel: FoundationModels.LanguageModel {
        public typealias Executor = OndolExecutor

        /// The loaded model.
        public let model: Ondol.Model

        private let id = UUID()

        public init(_ model: Ondol.Model) {
            self.model = model
        }

        public var capabilities: LanguageModelCapabilities {
            LanguageModelCapabilities([])
        }

        /// A session keeps one executor, and with it a conversation's KV cache, for each
        /// configuration.
        public var executorConfiguration: OndolExecutor.Configuration {
            OndolExecutor.Configuration(id: id)
        }
    }

    /// Answers the requests of a session. It uses one conversation as long as the session's
    /// transcript continues that conversation.
    @available(iOS 27.0, macOS 27.0, visionOS 27.0, *)
    public struct OndolExecutor: FoundationModels.LanguageModelExecutor {
        public typealias Model = OndolLanguageModel

        public struct Configuration: Hashable, Sendable {
            let id: UUID
        }

        private let place = ConversationPlace()

        public init(configuration: Configuration) throws {}

        public func prewarm(model: OndolLanguageModel, transcript: Transcript) {
            Task {
                try await place.prewarm(model.model, messages: messages(of: transcript))
            }
        }

        public func respond(
            to request: LanguageModelExecutorGenerationRequest,
            model: OndolLanguageModel,
            streamingInto channel: LanguageModelExecutorGenerationChannel
        ) async throws {
            try refuseWhatIsNotText(request)
            var history = try messages(of: request.transcript)
            guard let question = history.popLast(), question.role == "user" else {
                throw OndolError.emptyPrompt(detail: "the transcript does not end with a prompt")
            }
            let conversation = try await place.take(model.model, history: history)
            let options = answerOptions(request.generationOptions)
            let answer = conversation.events(question.content, options: options)
            do {
                try await pass(answer, of: request, model.model, to: channel)
            } catch {
                await place.put(conversation)
                throw asApples(error)
            }
            await place.put(conversation)
            try Task.checkCancellation()
        }

        private func pass(
            _ answer: AsyncThrowingStream<AnswerEvent, any Error>,
            of request: LanguageModelExecutorGenerationRequest, _ model: Ondol.Model,
            to channel: LanguageModelExecutorGenerationChannel
        ) async throws {
            let entry = UUID().uuidString
            let names = ["modelID": model.info.name, "requestID": request.id.uuidString]
            await channel.send(.response(entryID: entry, action: .updateMetadata(names)))
            for try await event in answer {
                switch event {
                case .prompt:
                    break
                case .token(let token):
                    await channel.send(
                        .response(
                            entryID: entry, action: .appendText(token.text, tokenCount: 1)))
                case .end(_, let stats):
                    await channel.send(
                        .response(
                            entryID: entry,
                            action: .updateUsage(
                                input: .init(
                                    totalTokenCount: stats.promptTokens,
                                    cachedTokenCount: stats.cachedTokens),
                                output: .init(
                                    totalTokenCount: stats.generatedTokens,
                                    reasoningTokenCount: 0))))
                }
            }
        }
    }

    /// Keeps the conversation between the turns of a session.
    private actor ConversationPlace {
        private var idle: Conversation?
        private var prewarming: Task<Conversation, any Error>?

        /// A conversation with this history. If the history is that of the last turn's
        /// conversation or a beginning of it, that conversation is truncated and used, with
        /// its KV cache; otherwise it is closed.
        func take(_ model: Ondol.Model, history: [ChatMessage]) async throws -> Conversation {
            if let task = prewarming {
                prewarming = nil
                idle = try? await task.value
            }
            guard let conversation = idle else {
                return try model.conversation(messages: history)
            }
            idle = nil
            let had = try await conversation.history()
            guard had.starts(with: history) else {
                conversation.close()
                return try model.conversation(messages: history)
            }
            try await conversation.truncate(history.count)
            return conversation
        }

        func put(_ conversation: Conversation) {
            idle = conversation
        }

        func prewarm(_ model: Ondol.Model, messages: [ChatMessage]) throws {
            guard idle == nil, prewarming == nil else { return }
            let conversation = try model.conversation(messages: messages)
            prewarming = Task {
                try await conversation.prewarm()
                return conversation
            }
        }
    }

    @available(iOS 27.0, macOS 27.0, visionOS 27.0, *)
    private func refuseWhatIsNotText(_ request: LanguageModelExecutorGenerationRequest) throws {
        if request.schema != nil {
            throw unsupported(.guidedGeneration, "answers that follow a schema are not supported")
        }
        if !request.enabledToolDefinitions.isEmpty {
            throw unsupported(.toolCalling, "tool calls are not supported")
        }
    }

    @available(iOS 27.0, macOS 27.0, visionOS 27.0, *)
    private func unsupported(
        _ capability: LanguageModelCapabilities.Capability, _ why: String
    ) -> LanguageModelError {
        .unsupportedCapability(.init(capability: capability, debugDescription: why))
    }

    @available(iOS 27.0, macOS 27.0, visionOS 27.0, *)
    private func asApples(_ error: any Error) -> any Error {
        guard case OndolError.contextFull(let needed, let allowed, let detail) = error else {
            return error
        }
        return LanguageModelError.contextSizeExceeded(
            .init(contextSize: allowed, tokenCount: needed, debugDescription: detail))
    }

    /// The transcript as messages for a model's chat template. The reasoning of earlier
    /// answers is left out.
    @available(iOS 27.0, macOS 27.0, visionOS 27.0, *)
    private func messages(of transcript: Transcript) throws -> [ChatMessage] {
        try transcript.compactMap { entry in
            switch entry {
            case .instructions(let instructions):
                ChatMessage(role: "system", content: try text(of: instructions.segments))
            case .prompt(let prompt):
                ChatMessage(role: "user", content: try text(of: prompt.segments))
            case .response(let response):
                ChatMessage(role: "assistant", content: try text(of: response.segments))
            case .reasoning:
                nil
            default:
                throw unsupported(.toolCalling, "the transcript has calls of tools")
            }
        }
    }

    @available(iOS 27.0, macOS 27.0, visionOS 27.0, *)
    private func text(of segments: [Transcript.Segment]) throws -> String {
        let texts = try segments.map { segment in
            switch segment {
            case .text(let text): text.content
            case .structure(let structure): structure.content.jsonString
            default: throw unsupported(.vision, "the transcript contains more than text")
            }
        }
        return texts.joined(separator: "\n")
    }

    @available(iOS 27.0, macOS 27.0, visionOS 27.0, *)
    private func answerOptions(_ asked: GenerationOptions) -> AnswerOptions {
        var options = AnswerOptions(
            temperature: asked.temperature.map { Float($0) },
            maxTokens: asked.maximumResponseTokens)
        switch asked.samplingMode?.kind {
        case .greedy:
            options.temperature = 0
        case .randomTopK(let k, let seed):
            options.topK = k
            options.seed = seed
        case .randomProbabilityThreshold(let threshold, let seed):
            options.topP = Float(threshold)
            options.seed = seed
        default:
            break
        }
        return options
    }
#endif

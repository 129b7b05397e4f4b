// NOT Apple's FoundationModels. A stand-in for tests on Linux: the declarations that
// `OndolFoundationModels` uses, by the names and signatures with which a public conformer
// uses them: `Libraries/MLXFoundationModels/MLXLanguageModel.swift`,
// `TranscriptConverter.swift` and their tests in github.com/ml-explore/mlx-swift-lm at
// 14414441fa44f45eee35a61e9fa0bab577cf9734. The bodies, and what a test reads back, were
// written for this package. Only the tests' build contains this module, no app does.

import Foundation

public protocol LanguageModel: Sendable {
    associatedtype Executor: LanguageModelExecutor
    var capabilities: LanguageModelCapabilities { get }
    var executorConfiguration: Executor.Configuration { get }
}

public protocol LanguageModelExecutor: Sendable {
    associatedtype Configuration: Hashable, Sendable
    associatedtype Model: LanguageModel

    init(configuration: Configuration) throws
    func prewarm(model: Model, transcript: Transcript)
    func respond(
        to request: LanguageModelExecutorGenerationRequest,
        model: Model,
        streamingInto channel: LanguageModelExecutorGenerationChannel
    ) async throws
}

extension LanguageModelExecutor {
    public func prewarm(model: Model, transcript: Transcript) {}
}

public struct LanguageModelCapabilities: Sendable {
    public struct Capability: Sendable, Hashable {
        let name: String
        public static let guidedGeneration = Capability(name: "guidedGeneration")
        public static let toolCalling = Capability(name: "toolCalling")
        public static let reasoning = Capability(name: "reasoning")
        public static let vision = Capability(name: "vision")
    }

    private let all: Set<Capability>

    public init(_ capabilities: [Capability]) {
        all = Set(capabilities)
    }

    public func contains(_ capability: Capability) -> Bool {
        all.contains(capability)
    }
}

public enum LanguageModelError: Error {
    public struct UnsupportedCapability: Sendable {
        public let capability: LanguageModelCapabilities.Capability
        public let debugDescription: String
        public init(
            capability: LanguageModelCapabilities.Capability, debugDescription: String
        ) {
            self.capability = capability
            self.debugDescription = debugDescription
        }
    }

    public struct ContextSizeExceeded: Sendable {
        public let contextSize: Int
        public let tokenCount: Int
        public let debugDescription: String
        public init(contextSize: Int, tokenCount: Int, debugDescription: String) {
            self.contextSize = contextSize
            self.tokenCount = tokenCount
            self.debugDescription = debugDescription
        }
    }

    case unsupportedCapability(UnsupportedCapability)
    case contextSizeExceeded(ContextSizeExceeded)
}

public struct GenerationSchema: Sendable {
    public init() {}
}

public struct GeneratedContent: Sendable {
    public let jsonString: String
}

public protocol ConvertibleToGeneratedContent {}
extension String: ConvertibleToGeneratedContent {}

public struct GenerationOptions: Sendable {
    public struct SamplingMode: Sendable {
        public enum Kind: Sendable {
            case greedy
            case randomTopK(Int, seed: UInt64?)
            case randomProbabilityThreshold(Double, seed: UInt64?)
        }

        public let kind: Kind

        public static let greedy = SamplingMode(kind: .greedy)
        public static func random(top k: Int, seed: UInt64? = nil) -> SamplingMode {
            SamplingMode(kind: .randomTopK(k, seed: seed))
        }
        public static func random(
            probabilityThreshold: Double, seed: UInt64? = nil
        ) -> SamplingMode {
            SamplingMode(kind: .randomProbabilityThreshold(probabilityThreshold, seed: seed))
        }
    }

    public var samplingMode: SamplingMode?
    public var temperature: Double?
    public var maximumResponseTokens: Int?

    public init(
        samplingMode: SamplingMode? = nil, temperature: Double? = nil,
        maximumResponseTokens: Int? = nil
    ) {
        self.samplingMode = samplingMode
        self.temperature = temperature
        self.maximumResponseTokens = maximumResponseTokens
    }
}

public struct ContextOptions: Sendable {
    public init() {}
}

public struct Transcript: Sendable, RandomAccessCollection {
    public struct TextSegment: Sendable {
        public let content: String
        public init(content: String) {
            self.content = content
        }
    }

    public struct StructuredSegment: Sendable {
        public let content: GeneratedContent
    }

    public struct AttachmentSegment: Sendable {
        public init() {}
    }

    public enum Segment: Sendable {
        case text(TextSegment)
        case structure(StructuredSegment)
        case attachment(AttachmentSegment)
    }

    public struct ToolDefinition: Sendable {
        public let name: String
        public init(name: String, description: String, parameters: GenerationSchema) {
            self.name = name
        }
    }

    public struct Instructions: Sendable {
        public let segments: [Segment]
        public init(segments: [Segment], toolDefinitions: [ToolDefinition]) {
            self.segments = segments
        }
    }

    public struct Prompt: Sendable {
        public let segments: [Segment]
        public init(segments: [Segment]) {
            self.segments = segments
        }
    }

    public struct Response: Sendable {
        public let segments: [Segment]
        public init(segments: [Segment]) {
            self.segments = segments
        }
    }

    public struct ToolCalls: Sendable {}
    public struct ToolOutput: Sendable {}
    public struct Reasoning: Sendable {
        public init() {}
    }

    public enum Entry: Sendable {
        case instructions(Instructions)
        case prompt(Prompt)
        case response(Response)
        case reasoning(Reasoning)
        case toolCalls(ToolCalls)
        case toolOutput(ToolOutput)
    }

    private var entries: [Entry]

    public init(entries: some Sequence<Entry> = []) {
        self.entries = Array(entries)
    }

    public var startIndex: Int { entries.startIndex }
    public var endIndex: Int { entries.endIndex }
    public subscript(index: Int) -> Entry { entries[index] }
}

public struct LanguageModelExecutorGenerationRequest: Sendable {
    public let id: UUID
    public let transcript: Transcript
    public let enabledToolDefinitions: [Transcript.ToolDefinition]
    public let schema: GenerationSchema?
    public let generationOptions: GenerationOptions
    public let contextOptions: ContextOptions
    public let metadata: [String: any ConvertibleToGeneratedContent & Sendable]

    public init(
        id: UUID, transcript: Transcript, enabledTools: [Transcript.ToolDefinition],
        schema: GenerationSchema? = nil, generationOptions: GenerationOptions,
        contextOptions: ContextOptions,
        metadata: [String: any ConvertibleToGeneratedContent & Sendable]
    ) {
        self.id = id
        self.transcript = transcript
        self.enabledToolDefinitions = enabledTools
        self.schema = schema
        self.generationOptions = generationOptions
        self.contextOptions = contextOptions
        self.metadata = metadata
    }
}

public struct LanguageModelExecutorGenerationChannel: Sendable {
    public enum Usage {
        public struct Input: Sendable {
            public let totalTokenCount: Int
            public let cachedTokenCount: Int
            public init(totalTokenCount: Int, cachedTokenCount: Int) {
                self.totalTokenCount = totalTokenCount
                self.cachedTokenCount = cachedTokenCount
            }
        }

        public struct Output: Sendable {
            public let totalTokenCount: Int
            public init(totalTokenCount: Int, reasoningTokenCount: Int) {
                self.totalTokenCount = totalTokenCount
            }
        }
    }

    public enum Response {
        public enum Action: Sendable {
            case appendText(String, tokenCount: Int)
            case updateMetadata([String: any ConvertibleToGeneratedContent & Sendable])
            case updateUsage(input: Usage.Input, output: Usage.Output)
        }
    }

    public enum Event: Sendable {
        case response(entryID: String?, action: Response.Action)
    }

    private actor Log {
        var events: [Event] = []

        func add(_ event: Event) {
            events.append(event)
        }
    }

    private let log = Log()

    public init() {}

    public func send(_ event: Event) async {
        await log.add(event)
    }

    /// The actions that were sent, for the tests. Apple's channel can't be read.
    public var sent: [Response.Action] {
        get async {
            await log.events.map { event in
                switch event {
                case .response(_, let action): action
                }
            }
        }
    }
}

public final class LanguageModelSession: Sendable {
    public struct Response<Content: Sendable>: Sendable {
        public let content: Content
    }

    private actor Entries {
        var all: [Transcript.Entry] = []

        func add(_ entry: Transcript.Entry) -> Transcript {
            all.append(entry)
            return Transcript(entries: all)
        }
    }

    private typealias Respond = @Sendable (
        LanguageModelExecutorGenerationRequest, LanguageModelExecutorGenerationChannel
    ) async throws -> Void

    private let entries = Entries()
    private let instructions: String?
    private let executor: Result<Respond, any Error>

    public init<Model: LanguageModel>(model: Model, instructions: String? = nil)
    where Model.Executor.Model == Model {
        self.instructions = instructions
        executor = Result {
            let executor = try Model.Executor(configuration: model.executorConfiguration)
            return { request, channel in
                try await executor.respond(to: request, model: model, streamingInto: channel)
            }
        }
    }

    public func respond(
        to prompt: String, options: GenerationOptions = GenerationOptions()
    ) async throws -> Response<String> {
        if let instructions, await entries.all.isEmpty {
            let segments = [Transcript.Segment.text(.init(content: instructions))]
            _ = await entries.add(
                .instructions(.init(segments: segments, toolDefinitions: [])))
        }
        let transcript = await entries.add(
            .prompt(.init(segments: [.text(.init(content: prompt))])))
        let request = LanguageModelExecutorGenerationRequest(
            id: UUID(), transcript: transcript, enabledTools: [], generationOptions: options,
            contextOptions: ContextOptions(), metadata: [:])
        let channel = LanguageModelExecutorGenerationChannel()
        try await executor.get()(request, channel)
        var content = ""
        for action in await channel.sent {
            if case .appendText(let text, _) = action {
                content += text
            }
        }
        _ = await entries.add(.response(.init(segments: [.text(.init(content: content))])))
        return Response(content: content)
    }
}

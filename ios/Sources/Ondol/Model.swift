import Foundation
internal import OndolFFI

/// A loaded model. It may be used from any thread or task, and is freed with the last
/// reference to it or to one of its conversations.
public final class Model: Sendable {
    let ffi: OndolFFI.Model

    /// Properties of the model.
    public let info: ModelInfo

    /// The governor that takes the app's reports about the device.
    public let governor: Governor

    /// Loads a GGUF file; of a split model the first part.
    ///
    /// The file is mapped, not read: it must stay unchanged while the model exists.
    /// Cancelling the task ends the load with a `CancellationError`. `progress` is called
    /// often, on another thread, while a packed copy is made or an NPU's programs are
    /// compiled. A packed copy that can't be made is no error: ``ModelInfo/noPackedCopy``
    /// then has the reason.
    ///
    /// - Throws: ``OndolError``: one of the codes 10 to 23 if the file can't be used;
    ///   `invalidArgument`, `unsupportedKernels`, `unsupportedKVType`, `delegate`.
    ///   `CancellationError` if the task was cancelled.
    public static func load(
        _ url: URL, options: LoadOptions = LoadOptions(), governor: Governor = Governor(),
        progress: (@Sendable (LoadProgress) -> Void)? = nil
    ) async throws -> Model {
        try await load(.file(url), options: options, governor: governor, progress: progress)
    }

    /// Loads a model from a file, from a range of a file, or the built-in model.
    ///
    /// - Throws: As the function for a URL.
    public static func load(
        _ source: ModelSource, options: LoadOptions = LoadOptions(),
        governor: Governor = Governor(), progress: (@Sendable (LoadProgress) -> Void)? = nil
    ) async throws -> Model {
        let listener = progress.map(ProgressListener.init)
        return try await Blocking.cancellable { token in
            let ffi = try OndolFFI.Model.load(
                source: source.ffi(), options: options.ffi(), governor: governor.ffi,
                listener: listener, cancel: token)
            return Model(ffi: ffi, governor: governor)
        }
    }

    private init(ffi: OndolFFI.Model, governor: Governor) {
        self.ffi = ffi
        self.governor = governor
        self.info = ModelInfo(ffi.info())
    }

    /// The exact memory of a model with its first conversation, before the model is loaded.
    /// Only the file's header is read.
    ///
    /// - Throws: ``OndolError/doesNotFit(needed:allowed:detail:)`` if the memory is more
    ///   than ``LoadOptions/memoryLimit``; the errors of `load`.
    public static func memoryBeforeLoad(
        _ source: ModelSource, options: LoadOptions = LoadOptions()
    ) async throws -> MemoryNeed {
        try await Blocking.run {
            MemoryNeed(try OndolFFI.memoryBeforeLoad(source: source.ffi(), options: options.ffi()))
        }
    }

    /// The exact memory of the model and one conversation with a context of `context`
    /// tokens; `nil` is the context that the model was loaded with. Nothing is allocated.
    ///
    /// - Throws: ``OndolError/doesNotFit(needed:allowed:detail:)`` if the memory is more
    ///   than ``LoadOptions/memoryLimit``.
    public func memory(context: Int? = nil) throws -> MemoryNeed {
        try call {
            MemoryNeed(try ffi.memory(context: context.map { try number($0, "context") }))
        }
    }

    /// A new conversation. `system` is the system message, with instructions for the whole
    /// conversation; `messages` were exchanged before. The first conversation makes the
    /// threads and the memory that all conversations share.
    ///
    /// - Throws: ``OndolError``: `doesNotFit` or `memoryPressure`.
    public func conversation(
        system: String? = nil, messages: [ChatMessage] = []
    ) throws -> Conversation {
        let options = OndolFFI.ConversationOptions(
            system: system, messages: messages.map(\.ffi))
        return Conversation(ffi: try call { try ffi.conversation(options: options) })
    }

    /// A conversation from a file that ``Conversation/save(to:)`` wrote with the same model
    /// and type of KV cache. Nothing is computed again.
    ///
    /// - Throws: ``OndolError``: `snapshot` if the file is not such a file or is damaged;
    ///   `io`, `doesNotFit`, `memoryPressure`.
    public func restoreConversation(from url: URL) async throws -> Conversation {
        try await Blocking.run { [ffi] in
            Conversation(ffi: try ffi.restore(path: path(of: url)))
        }
    }

    /// Makes the threads and the memory that all conversations share, and reads all weights
    /// once, so that the first answer does not wait for the disk.
    ///
    /// - Throws: ``OndolError``: `doesNotFit` or `memoryPressure`; `CancellationError` if
    ///   the task was cancelled.
    public func prewarm() async throws {
        try await Blocking.cancellable { [ffi] token in
            try ffi.prewarm(cancel: token)
        }
    }

    /// The number of tokens of a user's text.
    ///
    /// - Throws: ``OndolError/panicked(detail:)``.
    public func countTokens(_ text: String) throws -> Int {
        try call { Int(clamping: try ffi.countTokens(text: text)) }
    }

    /// The number of tokens of these messages with the chat template around them.
    ///
    /// - Throws: ``OndolError/template(detail:)`` if the template can't render them.
    public func countTokens(_ messages: [ChatMessage]) throws -> Int {
        try call { Int(clamping: try ffi.countChatTokens(messages: messages.map(\.ffi))) }
    }

    /// The ids of a text's tokens; control tokens that the text spells are encoded as text.
    ///
    /// - Throws: ``OndolError/panicked(detail:)``.
    public func encode(_ text: String) throws -> [UInt32] {
        try call { try ffi.encode(text: text) }
    }

    /// The text of token ids. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// - Throws: ``OndolError/panicked(detail:)``.
    public func decode(_ ids: [UInt32]) throws -> String {
        try call { try ffi.decode(ids: ids) }
    }

    /// Releases memory that no answer needs at this moment to the system.
    public func releaseUnused() {
        ffi.releaseUnused()
    }
}

/// Properties of a model.
public struct ModelInfo: Sendable, Hashable, Codable {
    /// Its name in the file, or "unnamed".
    public let name: String
    /// The architecture's name.
    public let architecture: String
    /// The context that it was trained for, in tokens.
    public let trainedContext: Int
    /// The context of its conversations, in tokens.
    public let context: Int
    /// Tokens of the vocabulary.
    public let vocabulary: Int
    /// Bytes of its files.
    public let fileBytes: Int
    /// Whether the file has a chat template of its own; otherwise the library chooses one.
    public let hasChatTemplate: Bool
    /// The path of the packed copy that the model runs from.
    public let packedCopy: String?
    /// Why there is no packed copy, although one was asked for and would be faster.
    public let noPackedCopy: String?
    /// Faults of the file that were repaired, and how.
    public let warnings: [String]

    init(_ info: OndolFFI.ModelInfo) {
        name = info.name
        architecture = info.architecture
        trainedContext = Int(clamping: info.trainedContext)
        context = Int(clamping: info.context)
        vocabulary = Int(clamping: info.vocabulary)
        fileBytes = Int(clamping: info.fileBytes)
        hasChatTemplate = info.hasChatTemplate
        packedCopy = info.packedCopy
        noPackedCopy = info.noPackedCopy
        warnings = info.warnings
    }
}

/// The exact memory of a model with one conversation, in bytes.
public struct MemoryNeed: Sendable, Hashable, Codable {
    /// Everything except `weightsMapped`.
    public let total: Int
    /// Bytes of the file that are read in place, and that the system can drop.
    public let weightsMapped: Int
    /// The cache of one conversation.
    public let kvCache: Int
    /// The memory of each further conversation.
    public let furtherConversation: Int

    init(_ memory: OndolFFI.Memory) {
        total = Int(clamping: memory.total)
        weightsMapped = Int(clamping: memory.weightsMapped)
        kvCache = Int(clamping: memory.kvCache)
        furtherConversation = Int(clamping: memory.furtherConversation)
    }
}

/// The progress of a load.
public struct LoadProgress: Sendable, Hashable, Codable {
    /// What is being done.
    public enum Stage: String, Sendable, Hashable, Codable {
        /// Another process makes a packed copy in the folder.
        case waiting
        /// The file and its packed copy are hashed.
        case verifying
        /// The packed copy is written.
        case packing
        /// Programs for the NPU are compiled.
        case compiling
    }

    /// What is being done.
    public let stage: Stage
    /// Bytes that are done; programs in the stage `compiling`.
    public let done: Int
    /// All bytes of the stage, or all programs; 0 in the stage `waiting`.
    public let total: Int
}

private final class ProgressListener: OndolFFI.LoadListener {
    private let report: @Sendable (LoadProgress) -> Void

    init(report: @escaping @Sendable (LoadProgress) -> Void) {
        self.report = report
    }

    func progress(stage: String, done: UInt64, total: UInt64) throws {
        guard let stage = LoadProgress.Stage(rawValue: stage) else { return }
        let done = Int(clamping: done), total = Int(clamping: total)
        report(LoadProgress(stage: stage, done: done, total: total))
    }
}

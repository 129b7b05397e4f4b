internal import OndolFFI

/// A piece of an answer: complete characters, never empty.
public struct Token: Sendable, Hashable, Codable, CustomStringConvertible {
    /// The text.
    public let text: String
    /// The id of the token that completed the text; `nil` for text that was held back
    /// until the end because it could have been the start of a stop string.
    public let id: UInt32?

    public var description: String { text }
}

/// An event of an answer that is being generated.
public enum AnswerEvent: Sendable, Hashable {
    /// `done` of `total` tokens of the prompt were computed, those in the cache included.
    case prompt(done: Int, total: Int)
    /// More text.
    case token(Token)
    /// The answer has ended; nothing comes after this.
    case end(FinishReason, AnswerStats)
}

/// Why an answer ended.
public enum FinishReason: String, Sendable, Hashable, Codable {
    /// The model ended it.
    case end
    /// A stop string was found.
    case stop
    /// The answer has ``AnswerOptions/maxTokens`` tokens.
    case maxTokens = "max_tokens"
    /// The context is full.
    case contextFull = "context_full"
    /// It was cancelled.
    case cancelled
}

/// Counts and speeds of an answer.
public struct AnswerStats: Sendable, Hashable, Codable {
    /// Tokens of the prompt.
    public var promptTokens = 0
    /// Of these, tokens that were in the cache and were not computed again.
    public var cachedTokens = 0
    /// Tokens of the answer.
    public var generatedTokens = 0
    /// Seconds from the first step to the first token.
    public var firstTokenSeconds = 0.0
    /// Prompt tokens computed per second.
    public var prefillTokensPerSecond = 0.0
    /// Tokens of the answer per second, after the first.
    public var decodeTokensPerSecond = 0.0
    /// The peak memory of the process in bytes; 0 if the system does not report it.
    public var peakMemoryBytes = 0

    /// The statistics of an answer that did not begin: all are 0.
    public init() {}
}

extension AnswerStats {
    init(_ stats: OndolFFI.Stats) {
        promptTokens = Int(clamping: stats.promptTokens)
        cachedTokens = Int(clamping: stats.cachedTokens)
        generatedTokens = Int(clamping: stats.generatedTokens)
        firstTokenSeconds = stats.firstTokenSeconds
        prefillTokensPerSecond = stats.prefillTokensPerSecond
        decodeTokensPerSecond = stats.decodeTokensPerSecond
        peakMemoryBytes = Int(clamping: stats.peakMemoryBytes)
    }
}

import Foundation
internal import OndolFFI

/// A message of a conversation.
public struct ChatMessage: Sendable, Hashable, Codable {
    /// Who speaks: "system", "user" or "assistant".
    public var role: String
    /// The text.
    public var content: String

    public init(role: String, content: String) {
        self.role = role
        self.content = content
    }

    var ffi: OndolFFI.ChatMessage {
        OndolFFI.ChatMessage(role: role, content: content)
    }
}

/// A conversation with a model. It may be used from any thread or task. It generates one
/// answer at a time; other conversations of the model are independent of it.
///
/// Its history is always defined: an answer that failed, or was cancelled before any text,
/// leaves no trace, nor does its question. An answer that was cancelled later stays with
/// the text that had been generated.
public final class Conversation: Sendable {
    let ffi: OndolFFI.Conversation
    private let turns = Turns()

    init(ffi: OndolFFI.Conversation) {
        self.ffi = ffi
    }

    /// Asks the model to answer, and streams the answer as it is generated.
    ///
    /// The answer ends at once, in the middle of the prompt too, when the task that reads
    /// the stream is cancelled or the stream is released; as with every
    /// `AsyncThrowingStream`, the loop of a cancelled task then ends without an error. The
    /// next call waits until the cancelled answer has ended, so it never fails because of
    /// it. The stream throws ``OndolError``: ``OndolError/busy(detail:)`` while another
    /// answer is generated, ``OndolError/contextFull(needed:allowed:detail:)`` for a text
    /// that does not fit, ``OndolError/sampler(detail:)`` for options out of range,
    /// ``OndolError/closed(detail:)`` after ``close()``.
    public func send(
        _ text: String, options: AnswerOptions = AnswerOptions()
    ) -> AsyncThrowingStream<Token, any Error> {
        AsyncThrowingStream { continuation in
            begin(text, options) { event in
                if case .token(let token) = event {
                    continuation.yield(token)
                }
            } finish: { error in
                continuation.finish(throwing: error)
            } whenLeft: { cancel in
                continuation.onTermination = { _ in cancel() }
            }
        }
    }

    /// As ``send(_:options:)``, and also reports the progress of the prompt, and at the end
    /// the reason and the speeds.
    public func events(
        _ text: String, options: AnswerOptions = AnswerOptions()
    ) -> AsyncThrowingStream<AnswerEvent, any Error> {
        AsyncThrowingStream { continuation in
            begin(text, options) { event in
                continuation.yield(event)
            } finish: { error in
                continuation.finish(throwing: error)
            } whenLeft: { cancel in
                continuation.onTermination = { _ in cancel() }
            }
        }
    }

    private func begin(
        _ text: String, _ options: AnswerOptions,
        report: @escaping @Sendable (AnswerEvent) -> Void,
        finish: @escaping @Sendable ((any Error)?) -> Void,
        whenLeft: (@escaping @Sendable () -> Void) -> Void
    ) {
        let turn = Turn(turns: turns, report: report, finish: finish)
        whenLeft { turn.cancel() }
        turns.run(turn) { [ffi] turn in
            try ffi.send(text: text, options: options.ffi(), listener: turn)
        }
    }

    /// Computes the messages so far, so that the next answer computes only what the user
    /// adds: for a long system message or a history that was given as messages.
    ///
    /// - Throws: ``OndolError``, for example `busy` or `contextFull`; `CancellationError`
    ///   if the task was cancelled.
    public func prewarm() async throws {
        await turns.settled()
        try await Blocking.cancellable { [ffi] token in
            try ffi.prewarm(cancel: token)
        }
    }

    /// Cancels the answer that is being generated, if there is one.
    public func cancel() {
        turns.cancelCurrent()
        ffi.cancel()
    }

    /// Whether an answer is being generated.
    public var isAnswering: Bool {
        ffi.isAnswering()
    }

    /// The messages, the system message included.
    ///
    /// - Throws: ``OndolError/closed(detail:)``.
    public func history() async throws -> [ChatMessage] {
        try await settled { try $0.history() }.map {
            ChatMessage(role: $0.role, content: $0.content)
        }
    }

    /// Keeps the first `messages` messages and forgets the rest.
    ///
    /// - Throws: ``OndolError``: `busy`, `closed`, or `invalidArgument` for a negative
    ///   number.
    public func truncate(_ messages: Int) async throws {
        try await settled { try $0.truncate(messages: number(messages, "messages")) }
    }

    /// The number of tokens of the next answer's prompt, without the user's next message.
    ///
    /// - Throws: ``OndolError``: `closed` or `template`.
    public func countTokens() async throws -> Int {
        Int(clamping: try await settled { try $0.countTokens() })
    }

    /// A second conversation with the same history, which continues independently.
    ///
    /// - Throws: ``OndolError``: `busy`, `closed`, `doesNotFit` or `memoryPressure`.
    public func fork() async throws -> Conversation {
        Conversation(ffi: try await settled { try $0.fork() })
    }

    /// Writes the conversation and its KV cache to a file. Afterwards the file is either
    /// complete or not there.
    ///
    /// - Throws: ``OndolError``: `busy`, `closed`, `invalidArgument` for a URL that is not
    ///   a file's; `io` or `snapshot` if the system refuses the file or a write.
    public func save(to url: URL) async throws {
        try await settled { try $0.save(path: path(of: url)) }
    }

    /// Releases memory that the idle conversation does not need to the system.
    public func releaseUnused() {
        ffi.releaseUnused()
    }

    /// Ends the conversation and frees its memory, as the release of the last reference
    /// does. An answer that is being generated is cancelled. Further calls fail with
    /// ``OndolError/closed(detail:)``.
    public func close() {
        ffi.close()
        turns.cancelCurrent()
    }

    private func settled<T: Sendable>(
        _ work: @escaping @Sendable (OndolFFI.Conversation) throws -> T
    ) async throws -> T {
        await turns.settled()
        return try await Blocking.run { [ffi] in try work(ffi) }
    }
}

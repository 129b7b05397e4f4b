import Foundation
internal import OndolFFI

/// One answer of a conversation: passes on the events that the library's thread reports,
/// and cancels the answer when its consumer does not want it any more.
final class Turn: OndolFFI.AnswerListener {
    private enum State {
        /// The answer waits for its start, or for the end of the answer before it.
        case waiting
        case running(OndolFFI.AnswerTask)
        case cancelled(OndolFFI.AnswerTask?)
        case ended
    }

    private let state = Locked(State.waiting)
    private let report: @Sendable (AnswerEvent) -> Void
    private let finish: @Sendable ((any Error)?) -> Void
    private let turns: Turns

    init(
        turns: Turns, report: @escaping @Sendable (AnswerEvent) -> Void,
        finish: @escaping @Sendable ((any Error)?) -> Void
    ) {
        self.turns = turns
        self.report = report
        self.finish = finish
    }

    /// Ends the answer soon, in prefill and in decode; the library then calls `end`.
    func cancel() {
        let task: OndolFFI.AnswerTask? = state.with { state in
            switch state {
            case .waiting:
                state = .cancelled(nil)
                return nil
            case .running(let task):
                state = .cancelled(task)
                return task
            case .cancelled, .ended:
                return nil
            }
        }
        task?.cancel()
    }

    var isCancelled: Bool {
        state.with { if case .cancelled = $0 { true } else { false } }
    }

    /// Starts the answer, if it is still wanted.
    func start(_ send: (Turn) throws -> OndolFFI.AnswerTask) {
        if isCancelled {
            over(.end(.cancelled, AnswerStats()))
            return
        }
        do {
            began(try call { try send(self) })
        } catch {
            over(error)
        }
    }

    private func began(_ task: OndolFFI.AnswerTask) {
        let unwanted = state.with { state in
            switch state {
            case .waiting:
                state = .running(task)
                return false
            case .cancelled:
                state = .cancelled(task)
                return true
            case .running, .ended:
                return false
            }
        }
        if unwanted {
            task.cancel()
        }
    }

    /// Ends the turn before it reports the end, so that the consumer can ask again at once.
    private func over(_ last: AnswerEvent) {
        free()
        report(last)
        finish(nil)
    }

    private func over(_ error: any Error) {
        free()
        finish(error)
    }

    private func free() {
        state.with { $0 = .ended }
        turns.ended(self)
    }

    // The library's thread calls these functions.

    func prompt(done: UInt32, total: UInt32) throws {
        report(.prompt(done: Int(done), total: Int(total)))
    }

    func text(text: String, token: UInt32?) throws {
        report(.token(Token(text: text, id: token)))
    }

    func end(end: OndolFFI.AnswerEnd) throws {
        if let error = end.error {
            over(OndolError(error))
        } else if let reason = FinishReason(rawValue: end.reason) {
            over(.end(reason, AnswerStats(end.stats)))
        } else {
            over(OndolError.other(detail: "the answer ended with \(end.reason)"))
        }
    }
}

/// Decides which answer may use a conversation. A cancelled answer uses the conversation
/// until its current token or layer is done; later calls wait for that and do not fail
/// because of it. While an answer that was not cancelled runs, other calls fail.
final class Turns: Sendable {
    private struct State {
        var current: Turn?
        var waiting: [@Sendable () -> Void] = []
    }

    private enum Place {
        case now, later, never
    }

    private let state = Locked(State())

    /// Starts the turn now, or after the end of a cancelled one.
    func run(_ turn: Turn, _ send: @escaping @Sendable (Turn) throws -> OndolFFI.AnswerTask) {
        let place = state.with { state -> Place in
            guard let current = state.current else {
                state.current = turn
                return .now
            }
            guard current.isCancelled else { return .never }
            state.waiting.append { self.run(turn, send) }
            return .later
        }
        switch place {
        case .now: Blocking.queue.async { turn.start(send) }
        case .later: break
        case .never: turn.refuse()
        }
    }

    /// Returns when no cancelled answer uses the conversation any more.
    func settled() async {
        await withCheckedContinuation { continuation in
            let waits = state.with { state in
                guard let current = state.current, current.isCancelled else { return false }
                state.waiting.append { continuation.resume() }
                return true
            }
            if !waits {
                continuation.resume()
            }
        }
    }

    /// Cancels the answer that is being generated, if there is one.
    func cancelCurrent() {
        state.with { $0.current }?.cancel()
    }

    func ended(_ turn: Turn) {
        let waiting = state.with { state -> [@Sendable () -> Void] in
            guard state.current === turn else { return [] }
            state.current = nil
            defer { state.waiting = [] }
            return state.waiting
        }
        waiting.forEach { $0() }
    }
}

extension Turn {
    /// Ends this turn with an error, because another answer is being generated.
    fileprivate func refuse() {
        over(
            OndolError.busy(
                detail: "the conversation is answering; wait for the answer, or cancel it"))
    }
}

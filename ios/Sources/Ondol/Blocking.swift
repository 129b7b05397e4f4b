import Dispatch
import Foundation
internal import OndolFFI

/// Runs calls of the library that take time on a queue of its own, since Swift's tasks have
/// few threads and must not block them.
enum Blocking {
    static let queue = DispatchQueue(label: "ondol", qos: .userInitiated, attributes: .concurrent)

    static func run<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            queue.async {
                continuation.resume(with: Result { try call(work) })
            }
        }
    }

    /// The same for work that takes a cancel token; cancelling the task cancels the token.
    static func cancellable<T: Sendable>(
        _ work: @escaping @Sendable (OndolFFI.CancelToken) throws -> T
    ) async throws -> T {
        try Task.checkCancellation()
        let token = OndolFFI.CancelToken()
        do {
            return try await withTaskCancellationHandler {
                try await run { try work(token) }
            } onCancel: {
                token.cancel()
            }
        } catch OndolError.cancelled where Task.isCancelled {
            throw CancellationError()
        }
    }
}

/// A value that one thread at a time can reach.
final class Locked<Value: Sendable>: @unchecked Sendable {
    // Unchecked: only `with` touches `value`, under the lock.
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) {
        self.value = value
    }

    func with<T>(_ body: (inout Value) throws -> T) rethrows -> T {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}

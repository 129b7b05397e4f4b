internal import OndolFFI

#if canImport(os)
    import os
#endif

/// How much a line of the log matters.
public enum LogLevel: String, Sendable, Hashable, Codable, CaseIterable {
    /// Something failed.
    case error
    /// Something is not as it should be, and goes on.
    case warn
    /// What was chosen and loaded.
    case info
    /// Details for the developers of Ondol.
    case debug
}

/// The library's log, which is off until `set` is called.
public enum Log {
    /// Takes a line in English, on any thread, several at the same time too.
    public typealias Sink = @Sendable (LogLevel, String) -> Void

    /// Passes the lines of this level and of more important ones to `sink`, in place of the
    /// one before; `nil` ends the log.
    public static func set(_ level: LogLevel, _ sink: Sink?) {
        OndolFFI.setLog(level: level.ffi, listener: sink.map(Listener.init))
    }

    #if canImport(os)
        /// Writes to the system's log, under the subsystem "dev.ondol":
        /// `Log.set(.warn, Log.system)`.
        public static let system: Sink = { level, line in
            logger.log(level: level.type, "\(line, privacy: .public)")
        }

        private static let logger = Logger(subsystem: "dev.ondol", category: "library")
    #endif
}

private final class Listener: OndolFFI.LogListener {
    private let sink: Log.Sink

    init(sink: @escaping Log.Sink) {
        self.sink = sink
    }

    func line(level: OndolFFI.LogLevel, text: String) throws {
        sink(LogLevel(level), text)
    }
}

extension LogLevel {
    fileprivate init(_ level: OndolFFI.LogLevel) {
        self =
            switch level {
            case .error: .error
            case .warn: .warn
            case .info: .info
            case .debug: .debug
            }
    }

    fileprivate var ffi: OndolFFI.LogLevel {
        switch self {
        case .error: .error
        case .warn: .warn
        case .info: .info
        case .debug: .debug
        }
    }

    #if canImport(os)
        fileprivate var type: OSLogType {
            switch self {
            case .error: .error
            // Between "info" and "error".
            case .warn: .default
            case .info: .info
            case .debug: .debug
            }
        }
    #endif
}

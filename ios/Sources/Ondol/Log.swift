internal import OndolFFI

#if canImport(os)
    import os
#endif

/// How important a line of the log is.
public enum LogLevel: String, Sendable, Hashable, Codable, CaseIterable {
    /// Something failed.
    case error
    /// Something is wrong, and the library continues.
    case warn
    /// Reports what was chosen and loaded.
    case info
    /// Details for the developers of Ondol.
    case debug
}

/// The library's log, which is off until `set` is called.
public enum Log {
    /// Takes a line, which is English. Any thread may call it, several threads at the same
    /// time too.
    public typealias Sink = @Sendable (LogLevel, String) -> Void

    /// Passes the lines of this level and of more important ones to `sink`, which replaces
    /// the previous one; `nil` ends the log.
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
            // The system's level between "info" and "error".
            case .warn: .default
            case .info: .info
            case .debug: .debug
            }
        }
    #endif
}

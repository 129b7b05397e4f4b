// NOT os. A stand-in with the names that this package uses, so that its code for Apple's
// log can be compiled, and tested, on Linux. Only the tests' build contains it, no app does.

import Foundation

public struct OSLogType: Sendable, Equatable {
    let name: String
    public static let `default` = OSLogType(name: "default")
    public static let info = OSLogType(name: "info")
    public static let debug = OSLogType(name: "debug")
    public static let error = OSLogType(name: "error")
}

public struct OSLogPrivacy: Sendable {
    public static let `public` = OSLogPrivacy()
}

public struct OSLogInterpolation: StringInterpolationProtocol {
    var text = ""

    public init(literalCapacity: Int, interpolationCount: Int) {}

    public mutating func appendLiteral(_ literal: String) {
        text += literal
    }

    public mutating func appendInterpolation(
        _ string: @autoclosure @escaping () -> String, privacy: OSLogPrivacy
    ) {
        text += string()
    }
}

public struct OSLogMessage: ExpressibleByStringInterpolation {
    let text: String

    public init(stringInterpolation: OSLogInterpolation) {
        text = stringInterpolation.text
    }

    public init(stringLiteral value: String) {
        text = value
    }
}

/// Keeps the lines that are logged, for the tests.
public struct Logger: Sendable {
    private let name: String

    public init(subsystem: String, category: String) {
        name = "\(subsystem) \(category)"
    }

    public func log(level: OSLogType, _ message: OSLogMessage) {
        Logger.lock.withLock { Logger.kept.append("\(name) \(level.name): \(message.text)") }
    }

    private static let lock = NSLock()
    // The lock guards this variable.
    nonisolated(unsafe) private static var kept: [String] = []

    public static var lines: [String] {
        lock.withLock { kept }
    }
}

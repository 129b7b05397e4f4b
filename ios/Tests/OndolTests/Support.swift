import Foundation
import Ondol
import XCTest

/// Always takes the likeliest token, so that the same question has the same answer.
let greedy = AnswerOptions(temperature: 0, maxTokens: 24)

/// Makes nearly all tokens equally likely, so that the model does not end the answer soon.
let long = AnswerOptions(temperature: 1000, topK: 0, topP: 1, minP: 0, seed: 7)

/// The same with at most 40 tokens, for models that are slow.
let lengthy = AnswerOptions(
    temperature: 1000, topK: 0, topP: 1, minP: 0, seed: 7, maxTokens: 40)

/// A short answer.
let brief = AnswerOptions(temperature: 0, maxTokens: 4)

/// A model that is slow enough for a test to act in the middle of a prompt: it computes one
/// token at a time, with the `scalar` kernels.
let slow = LoadOptions(threads: 1, prefillChunk: 1, drafts: 0, kernels: "scalar")

func hello(_ options: LoadOptions = LoadOptions()) async throws -> Model {
    try await Model.load(.hello, options: options)
}

/// A text of about 400 tokens.
let longText = String(repeating: "안녕하세요 hello 🙂 ", count: 20)

struct Whole: Equatable {
    var text = ""
    var tokens: [Token] = []
    var prompts: [Int] = []
    var reason: FinishReason?
    var stats = AnswerStats()
}

/// The whole answer.
func answer(
    _ conversation: Conversation, _ text: String, _ options: AnswerOptions = greedy
) async throws -> Whole {
    var whole = Whole()
    for try await event in conversation.events(text, options: options) {
        switch event {
        case .prompt(let done, _):
            whole.prompts.append(done)
        case .token(let token):
            whole.tokens.append(token)
            whole.text += token.text
        case .end(let reason, let stats):
            whole.reason = reason
            whole.stats = stats
        }
    }
    return whole
}

/// The error that the work throws.
func error(
    of work: () async throws -> some Any, file: StaticString = #filePath, line: UInt = #line
) async -> OndolError? {
    do {
        _ = try await work()
    } catch let error as OndolError {
        return error
    } catch {
        XCTFail("\(error)", file: file, line: line)
        return nil
    }
    XCTFail("no error", file: file, line: line)
    return nil
}

/// The error's number.
func code(
    of work: () async throws -> some Any, file: StaticString = #filePath, line: UInt = #line
) async -> Int? {
    await error(of: work, file: file, line: line)?.code
}

/// Waits until a condition holds; returns false if it does not hold within some seconds.
func within(seconds: Double, _ so: () -> Bool) async throws -> Bool {
    let end = Date() + seconds
    while !so() {
        if Date() > end {
            return false
        }
        try await Task.sleep(nanoseconds: 1_000_000)
    }
    return true
}

/// A folder for one test's files.
func folder(_ name: String = #function) throws -> URL {
    let name = "ondol-\(name.prefix { $0 != "(" })-\(getpid())"
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(name)
    try? FileManager.default.removeItem(at: folder)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
}

/// The built-in model as a file; `cargo xtask swift` passes its path.
func helloFile() throws -> Data {
    let path = try XCTUnwrap(ProcessInfo.processInfo.environment["ONDOL_HELLO"], "ONDOL_HELLO")
    return try Data(contentsOf: URL(fileURLWithPath: path))
}

extension Data {
    /// Replaces bytes by other bytes of the same number.
    mutating func patch(_ old: [UInt8], _ new: [UInt8], skip: Int = 0) throws {
        let found = try XCTUnwrap(range(of: Data(old)), "\(old) in the model")
        let start = found.lowerBound + skip
        replaceSubrange(start..<start + new.count, with: new)
    }

    mutating func patch(_ old: String, _ new: String) throws {
        XCTAssertEqual(old.utf8.count, new.utf8.count)
        try patch(Array(old.utf8), Array(new.utf8))
    }

    func written(to folder: URL, _ name: String = "model.gguf") throws -> URL {
        let url = folder.appendingPathComponent(name)
        try write(to: url)
        return url
    }
}

/// What the process holds.
struct Holdings: CustomStringConvertible {
    var memory = 0
    var threads = 0
    var ondolThreads = 0
    var files = 0

    static func now() throws -> Holdings {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let number = { (key: String) -> Int in
            let line = status.split(separator: "\n").first { $0.hasPrefix(key) }
            return Int(line?.split(whereSeparator: { !$0.isNumber }).first ?? "") ?? 0
        }
        let files = FileManager.default
        let tasks = try files.contentsOfDirectory(atPath: "/proc/self/task")
        let names = tasks.compactMap {
            try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8)
        }
        return Holdings(
            memory: number("VmRSS:") * 1024,
            threads: number("Threads:"),
            ondolThreads: names.filter { $0.hasPrefix("ondol") }.count,
            files: try files.contentsOfDirectory(atPath: "/proc/self/fd").count)
    }

    var description: String {
        "\(memory / 1024) KiB, \(threads) threads, \(ondolThreads) of Ondol, \(files) files"
    }
}

import Foundation
import Ondol
import SwiftUI

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// What the screen shows, and what its buttons do.
@MainActor
final class Chat: ObservableObject {
    @Published private(set) var messages: [ChatMessage] = []
    @Published private(set) var status = "Pick a GGUF file, download one, or try the built-in model."
    @Published private(set) var isAnswering = false
    @Published private(set) var isLoading = false

    private var model: Model?
    private var conversation: Conversation?
    private var task: Task<Void, Never>?
    private let governor = Governor()
    private let device: DeviceEvents

    init() {
        device = DeviceEvents(governor: governor)
    }

    var canSend: Bool { conversation != nil && !isAnswering }

    /// Loads a file that the document picker returned. The app may read it only between
    /// the start and the stop of the security-scoped access, so the file is copied.
    func open(_ url: URL) {
        load {
            let allowed = url.startAccessingSecurityScopedResource()
            defer { if allowed { url.stopAccessingSecurityScopedResource() } }
            return .file(try copyToDocuments(url))
        }
    }

    func download(_ address: String) {
        guard let url = URL(string: address) else { return }
        load {
            let (file, _) = try await URLSession.shared.download(from: url)
            return .file(try copyToDocuments(file, named: url.lastPathComponent))
        }
    }

    func openBuiltIn() {
        load { .hello }
    }

    func send(_ text: String) {
        guard canSend, let conversation else { return }
        messages += [
            ChatMessage(role: "user", content: text), ChatMessage(role: "assistant", content: ""),
        ]
        isAnswering = true
        task = Task {
            do {
                for try await event in conversation.events(text) {
                    show(event)
                }
            } catch {
                status = error.localizedDescription
            }
            isAnswering = false
        }
    }

    func stop() {
        task?.cancel()
    }

    private func show(_ event: AnswerEvent) {
        switch event {
        case .prompt(let done, let total):
            status = "Reading \(done) of \(total) tokens"
        case .token(let token):
            messages[messages.count - 1].content += token.text
        case .end(_, let stats):
            let speed = stats.decodeTokensPerSecond.formatted(.number.precision(.fractionLength(1)))
            let memory = stats.peakMemoryBytes.formatted(.byteCount(style: .memory))
            status = "\(speed) tokens/s, \(memory) at most"
        }
    }

    private func load(_ source: @escaping @Sendable () async throws -> ModelSource) {
        isLoading = true
        status = "Loading"
        Task {
            do {
                let model = try await Model.load(source(), governor: governor)
                conversation = try model.conversation(system: "You are a helpful assistant.")
                self.model = model
                messages = []
                let need = try model.memory().total.formatted(.byteCount(style: .memory))
                status = "\(model.info.name): \(need) beside the file"
            } catch {
                status = error.localizedDescription
            }
            isLoading = false
        }
    }
}

/// Copies a file to the documents folder: a model's file must stay where it is while the
/// model is used.
private func copyToDocuments(_ file: URL, named name: String? = nil) throws -> URL {
    let documents = try FileManager.default.url(
        for: .documentDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
    let copy = documents.appendingPathComponent(name ?? file.lastPathComponent)
    if !FileManager.default.fileExists(atPath: copy.path) {
        try FileManager.default.copyItem(at: file, to: copy)
    }
    return copy
}

import Foundation
import SwiftUI

#if canImport(UniformTypeIdentifiers)
    import UniformTypeIdentifiers
#endif

struct ChatScreen: View {
    @StateObject private var chat = Chat()
    @State private var text = ""
    @State private var address = ""
    @State private var picks = false

    var body: some View {
        VStack {
            models
            ScrollView {
                ForEach(Array(chat.messages.enumerated()), id: \.offset) { _, message in
                    Text(message.content).foregroundStyle(message.role == "user" ? .blue : .primary)
                }
            }
            Text(chat.status).font(.footnote)
            input
        }
        .padding()
        .fileImporter(isPresented: $picks, allowedContentTypes: [.data]) { picked in
            if case .success(let url) = picked {
                chat.open(url)
            }
        }
    }

    private var models: some View {
        HStack {
            Button("Pick") { picks = true }
            TextField("or an address", text: $address)
            Button("Download") { chat.download(address) }
            Button("Built-in") { chat.openBuiltIn() }
        }
        .disabled(chat.isLoading)
    }

    private var input: some View {
        HStack {
            TextField("Message", text: $text)
            if chat.isAnswering {
                Button("Stop") { chat.stop() }
            } else {
                Button("Send") {
                    chat.send(text)
                    text = ""
                }
                .disabled(!chat.canSend)
            }
        }
    }
}

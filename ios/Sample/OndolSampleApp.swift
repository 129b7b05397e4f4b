import SwiftUI

@main
struct OndolSampleApp: App {
    var body: some Scene {
        WindowGroup {
            ChatScreen()
        }
    }
}

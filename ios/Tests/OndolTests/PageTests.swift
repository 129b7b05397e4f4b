#if ONDOL_TESTING
    import XCTest

    /// `cargo xtask swift` makes functions of the snippets of docs/ios.md.
    final class PageTests: XCTestCase {
        func testTheFirstSnippetAnswers() async throws {
            try await firstSnippet()
        }
    }
#endif

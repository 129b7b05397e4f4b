//! Makes the source of a test from the snippets of a page.

use crate::page::blocks;

/// The parameters of the snippets' functions, except the first one's: what snippets may use without
/// a declaration.
const GIVEN: &str = "url: URL, model: Model, conversation: Conversation, governor: Governor";

/// The source: a function for each snippet, or its declarations as they are. `firstSnippet`
/// is the first one, which the tests run.
pub fn source(page: &str) -> Result<String, String> {
    let snippets: Vec<Vec<&str>> = snippets(page);
    if snippets.is_empty() {
        return Err("a page without snippets of Swift".into());
    }
    let mut source = String::from("// Made by `cargo xtask swift`.\n\n");
    for import in imports(&snippets) {
        source += &format!("{import}\n");
    }
    for (index, snippet) in snippets.iter().enumerate() {
        let lines = snippet.iter().filter(|line| !is_import(line));
        let body: String = lines.map(|line| format!("{line}\n")).collect();
        source += &match (index, declares(snippet)) {
            (_, true) => format!("\n{body}"),
            (0, false) => format!("\nfunc firstSnippet() async throws {{\n{body}}}\n"),
            (_, false) => format!("\nfunc snippet{index}({GIVEN}) async throws {{\n{body}}}\n"),
        };
    }
    Ok(source)
}

fn snippets(page: &str) -> Vec<Vec<&str>> {
    let swift = blocks(page).into_iter().filter(|b| b.language == "swift");
    swift.map(|block| block.code.lines().collect()).collect()
}

/// Each import once, and the imports that [`GIVEN`] needs.
fn imports<'a>(snippets: &[Vec<&'a str>]) -> Vec<&'a str> {
    let mut imports = vec!["import Foundation", "import Ondol"];
    for line in snippets.iter().flatten().filter(|line| is_import(line)) {
        if !imports.contains(line) {
            imports.push(line);
        }
    }
    imports
}

fn is_import(line: &str) -> bool {
    line.starts_with("import ")
}

/// Whether a snippet has declarations that can't be in a function.
fn declares(snippet: &[&str]) -> bool {
    let starts = [
        "@main",
        "@MainActor",
        "final class ",
        "struct ",
        "extension ",
    ];
    let mut lines = snippet.iter();
    lines.any(|line| starts.iter().any(|start| line.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snippets_are_functions_or_declarations() {
        let page = "text\n```swift\nimport Ondol\nimport SwiftUI\nlet a = 1\n```\n```sh\nno\n```\n\
                    ```swift\nstruct S {}\n```\n```swift\nlet b = 2\n```\n";
        let source = source(page).unwrap();
        assert!(
            source.contains("func firstSnippet() async throws {\nlet a = 1\n}"),
            "{source}"
        );
        assert!(source.contains("\n\nstruct S {}\n"), "{source}");
        assert!(source.contains("func snippet2("), "{source}");
        assert_eq!(source.matches("import Ondol").count(), 1);
        assert!(!source.contains("no\n"));
    }

    #[test]
    fn a_page_without_snippets_is_told() {
        assert!(source("text").is_err());
    }
}

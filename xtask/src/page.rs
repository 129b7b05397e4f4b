//! The code blocks of a page in `docs/`.

/// A code block.
#[derive(Debug, PartialEq)]
pub struct Block<'a> {
    /// What follows the fence: "c", "console", "swift".
    pub language: &'a str,
    pub code: &'a str,
}

/// All code blocks, in their order.
pub fn blocks(page: &str) -> Vec<Block<'_>> {
    let between = page.split("```").skip(1).step_by(2);
    between
        .filter_map(|block| block.split_once('\n'))
        .map(|(language, code)| Block { language, code })
        .collect()
}

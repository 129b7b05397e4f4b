//! The blocks that are open at a tag, and the jumps out of them.
//!
//! minijinja's `break` and `continue` do not close blocks inside the loop: the scope of
//! a `with`, or the text that `set` or `filter` collects, would stay open. Such a jump
//! is refused.

use super::expression::Parsed;

/// Blocks that jinja2 compiles to functions: a jump in them can't leave a loop around them.
const FUNCTIONS: [&str; 3] = ["call", "generation", "macro"];

/// A block that is not closed yet.
struct Block {
    /// The tag that opened it; `else` for that part of a loop.
    tag: &'static str,
    /// The byte offset in the rewritten source at which the inner text of its tag starts.
    at: usize,
    /// Whether a loop has a `break` or a `continue`.
    jumps: bool,
    /// Whether a loop is `recursive`.
    recursive: bool,
}

/// The blocks that are not closed yet.
#[derive(Default)]
pub(super) struct Blocks {
    open: Vec<Block>,
}

impl Blocks {
    pub(super) fn open(&mut self, tag: &'static str, at: usize) {
        self.open.push(Block {
            tag,
            at,
            jumps: false,
            recursive: false,
        });
    }

    /// Notes that the innermost loop is `recursive`.
    pub(super) fn recurse(&mut self) {
        if let Some(block) = self.open.last_mut() {
            block.recursive = true;
        }
    }

    /// Closes the innermost block, and returns whether it was the `else` of a loop with
    /// jumps. An end tag that does not match its block is left to minijinja's parser.
    pub(super) fn close(&mut self) -> bool {
        let closed = self.open.pop();
        closed.is_some_and(|block| block.tag == "else" && block.jumps)
    }

    /// Starts an `else`, and returns where the tag of its loop starts if the loop has jumps.
    ///
    /// # Errors
    /// For a recursive loop: minijinja would not run its `else` within the recursive calls.
    pub(super) fn begin_else(&mut self) -> Parsed<Option<usize>> {
        let Some(block) = self.open.last_mut().filter(|block| block.tag == "for") else {
            return Ok(None);
        };
        if block.recursive {
            return Err("a recursive loop can't have an `else` here".to_owned());
        }
        block.tag = "else";
        Ok(block.jumps.then_some(block.at))
    }

    /// Notes a jump to the end of the innermost loop or of its iteration.
    ///
    /// # Errors
    /// For a jump outside of a loop, and for one that minijinja can't execute.
    pub(super) fn jump(&mut self, tag: &str) -> Parsed<()> {
        let around = self.open.iter_mut().rev();
        let mut around = around.take_while(|block| !FUNCTIONS.contains(&block.tag));
        let mut between = None;
        let found = around.find(|block| {
            if matches!(block.tag, "with" | "set" | "filter") {
                between.get_or_insert(block.tag);
            }
            block.tag == "for"
        });
        match (found, between) {
            (Some(block), None) => {
                block.jumps = true;
                Ok(())
            }
            (Some(_), Some(block)) => Err(format!(
                "`{tag}` can't leave a `{block}` block here; close the block before it"
            )),
            (None, _) => Err(format!("`{tag}` outside of a loop")),
        }
    }
}

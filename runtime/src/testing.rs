//! For the tests of this workspace (feature `testing`): passes with drafts, which
//! otherwise only generations make.

use crate::{Result, Session};

/// A session's drafts.
pub trait Drafts {
    /// Runs the first of `tokens`, and in the same pass the others as drafts; those
    /// beyond [`crate::SessionOptions::drafts`] are not run. Returns the logits after the
    /// first. [`Drafts::accept_draft`] accepts drafts; any other call drops them.
    ///
    /// # Errors
    /// As for [`Session::decode`]; all of `tokens` must fit in the context.
    fn run_drafts(&mut self, tokens: &[u32]) -> Result<&[f32]>;

    /// Appends `token` if it is the next draft, and returns the logits after it: those
    /// of [`Session::decode`], bit for bit. `None` if it is not the next draft.
    fn accept_draft(&mut self, token: u32) -> Option<&[f32]>;
}

impl Drafts for Session {
    fn run_drafts(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.decode_with_drafts(tokens)
    }

    fn accept_draft(&mut self, token: u32) -> Option<&[f32]> {
        self.accept(token)
    }
}

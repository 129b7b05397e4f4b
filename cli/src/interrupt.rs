//! Ctrl-C cancels the answer that is being written; a second one ends the program.

use crate::error::{Error, Result};
use ondol::CancelToken;

/// The exit code that shells report for a program that Ctrl-C ended.
pub const EXIT_CODE: u8 = 130;

/// A token that Ctrl-C cancels. Reset it before each answer.
pub fn cancel_on_ctrl_c() -> Result<CancelToken> {
    let cancel = CancelToken::new();
    let shared = cancel.clone();
    ctrlc::set_handler(move || {
        if shared.is_cancelled() {
            std::process::exit(EXIT_CODE.into());
        }
        shared.cancel();
    })
    .map_err(|error| match error {
        ctrlc::Error::System(source) => Error::NoThread {
            purpose: "watch for Ctrl-C",
            source,
        },
        error => Error::Terminal(error.to_string()),
    })?;
    Ok(cancel)
}

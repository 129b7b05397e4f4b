//! Compares the memory that a model and its session hold with the bytes that
//! `Model::memory` announced.

use ondol::testing::Drafts;
use ondol::{CancelToken, KvType, Memory, Model, Session, SessionOptions};

/// Tokens of context, all of which [`fill`] fills: one pass of prefill, and drafts.
const CONTEXT: usize = 256 + 8;

/// Options of a session that [`fill`] fills.
pub fn options(kv_type: KvType) -> SessionOptions {
    SessionOptions {
        threads: Some(2),
        context: Some(CONTEXT),
        kv_type,
        ..SessionOptions::default()
    }
}

/// Uses all of a session's memory: the whole cache, a full pass of prefill, the logits of
/// every draft, and the screen.
pub fn fill(session: &mut Session) {
    let tokens: Vec<u32> = (0..CONTEXT as u32).map(|i| 3 + i % 200).collect();
    let (prompt, drafts) = tokens.split_at(CONTEXT - 8);
    session.prefill(prompt, &CancelToken::new()).unwrap();
    session.run_drafts(drafts).unwrap();
    session.decode_top(5, 40).unwrap();
}

/// Asserts that `held` bytes differ from the announced bytes by at most the fraction `part`
/// of them.
#[track_caller]
pub fn compare(model: &Model, memory: Memory, held: usize, part: f64) {
    let off = held as f64 / memory.total as f64 - 1.0;
    println!(
        "{}{}: {} bytes announced, {held} held ({:+.2} %)",
        model.name(),
        if model.is_packed() { ", packed" } else { "" },
        memory.total,
        off * 100.0
    );
    assert!(off.abs() <= part, "{memory:?}");
}

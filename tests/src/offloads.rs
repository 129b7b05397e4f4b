//! Offloads to the sample plug-in, sessions that use them, and the comparisons of their
//! tests.

use crate::{error, softnpu};
use ondol::delegate::{Delegate, Offload, OffloadOptions, OffloadStats, SpanCount};
use ondol::{CancelToken, Error, Model, Session, SessionOptions};
use std::time::Duration;

/// Tokens of one prefill pass: more than the 16 rows of a program of [`small_programs`].
pub const CHUNK: usize = 64;

/// The largest relative root mean square error of logits that 8-bit weights and activations
/// may cause.
pub const NEAR: f64 = 0.1;

/// A deadline that no test reaches, for tests that do not test deadlines.
pub const LONG: Duration = Duration::from_secs(60);

/// The built-in model.
pub fn hello() -> Model {
    Model::hello().unwrap()
}

/// Options with prefill in programs of 16 rows.
pub fn small_programs() -> OffloadOptions {
    OffloadOptions {
        rows: 16,
        deadline: LONG,
        ..OffloadOptions::default()
    }
}

/// The same options, and decode on the device too.
pub fn all_passes() -> OffloadOptions {
    OffloadOptions {
        decode: true,
        ..small_programs()
    }
}

/// An offload to `device`.
///
/// # Errors
/// Those of [`Offload::new`].
pub fn try_offload(
    model: &Model,
    device: &Delegate,
    options: &OffloadOptions,
) -> Result<Offload, Error> {
    Offload::new(model, device, options, &CancelToken::new(), |_, _| ())
}

/// An offload to a device that only this offload uses.
pub fn offload(model: &Model, options: &OffloadOptions) -> Offload {
    try_offload(model, &softnpu::open(), options).unwrap()
}

/// Options of a session with the offload, or on the CPU alone.
pub fn options(offload: Option<&Offload>) -> SessionOptions {
    SessionOptions {
        threads: Some(2),
        context: Some(256),
        prefill_chunk: CHUNK,
        offload: offload.cloned(),
        ..SessionOptions::default()
    }
}

/// A session with the offload, or on the CPU alone.
pub fn session(model: &Model, offload: Option<&Offload>) -> Session {
    model.session(&options(offload)).unwrap()
}

/// A prompt of `tokens` tokens.
pub fn prompt(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|i| (i * 7919 + 13) % 300).collect()
}

/// The bits of logits.
pub fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// The bits of the logits after a prompt of `tokens` tokens, from an empty cache.
///
/// # Errors
/// Those of [`Session::prefill`].
pub fn try_prefill(session: &mut Session, tokens: u32) -> Result<Vec<u32>, Error> {
    session.clear();
    session
        .prefill(&prompt(tokens), &CancelToken::new())
        .map(bits)
}

/// As [`try_prefill`], for sessions in which nothing fails.
pub fn prefill(session: &mut Session, tokens: u32) -> Vec<u32> {
    try_prefill(session, tokens).unwrap()
}

/// The logits after each token of a prompt of `tokens` tokens.
pub fn scores(session: &mut Session, tokens: u32) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    let cancel = CancelToken::new();
    session.clear();
    let scored = session.score(&prompt(tokens), &cancel, |_, row| all.push(row.to_vec()));
    scored.unwrap();
    all
}

fn floats(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|&x| f32::from_bits(x)).collect()
}

/// Asserts that the error of `got` is at most [`NEAR`]; both are bits of logits. A NaN in
/// either fails.
#[track_caller]
pub fn assert_near(got: &[u32], truth: &[u32]) {
    let error = error(&[floats(got)], &[floats(truth)]);
    assert!(error <= NEAR, "{error}");
}

/// The counts of the work of the session's device so far.
pub fn stats(session: &Session) -> OffloadStats {
    session.engine().offload_stats().unwrap().clone()
}

/// The number of spans of the session's offload.
pub fn spans(session: &Session) -> u64 {
    session.engine().offload().unwrap().report().spans.len() as u64
}

/// Asserts that all spans of `prefills` and `decodes` passes ran on the device, and that the
/// audits found nothing.
#[track_caller]
pub fn assert_all_on_device(session: &Session, prefills: u64, decodes: u64) {
    let (stats, spans) = (stats(session), spans(session));
    for (stage, passes) in [(stats.prefill, prefills), (stats.decode, decodes)] {
        assert_eq!(stage.on_device.spans, spans * passes, "{stats:?}");
        assert_eq!(stage.on_cpu, SpanCount::default(), "{stats:?}");
    }
    assert_eq!(stats.failures, 0, "{stats:?}");
    // The first call of each program is audited, and then every 16th.
    let audited = prefills.div_ceil(16) + decodes.div_ceil(16);
    assert_eq!(stats.audits, spans * audited, "{stats:?}");
    assert!(
        stats.worst_audit > 0.0 && stats.worst_audit < 2e-3,
        "{stats:?}"
    );
    assert!(stats.time > Duration::ZERO);
    assert!(stats.last_failure.is_none() && !stats.given_up);
}

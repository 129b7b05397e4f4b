//! Oracles, small models and other helpers of the tests of whole paths.

pub mod counting;
pub mod holding;
pub mod hostile;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod offloads;
pub mod oracle;
pub mod packing;
pub mod published;
pub mod quantizing;
pub mod random;
pub mod random_model;
pub mod reference;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod refusing;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod softnpu;

/// `ln(softmax(logits))`.
pub fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let above = |logit: &f32| f64::from(*logit) - f64::from(max);
    let sum: f64 = logits.iter().map(|logit| above(logit).exp()).sum();
    logits.iter().map(|logit| above(logit) - sum.ln()).collect()
}

/// Root mean square of the differences between `got` and `truth`, divided by the root mean
/// square of `truth`. Both have one row of logits for each token.
///
/// # Panics
/// If the two have different numbers of rows.
pub fn error(got: &[Vec<f32>], truth: &[Vec<f32>]) -> f64 {
    assert_eq!(got.len(), truth.len());
    let pairs = || got.iter().flatten().zip(truth.iter().flatten());
    let differences: f64 = pairs().map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let squares: f64 = pairs().map(|(_, b)| f64::from(*b).powi(2)).sum();
    (differences / squares).sqrt()
}

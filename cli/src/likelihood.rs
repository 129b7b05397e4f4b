//! Logits to log-probabilities.

use ondol::generate::SamplerError;
use ondol_kernels::Kernels;

/// The logarithm of the sum of exponentials: a token's `ln p` is `logit - log_sum_exp`.
///
/// Computed relative to the largest logit, so that it neither overflows nor loses precision.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let kernels = Kernels::detect();
    let largest = kernels.vector().max(logits);
    f64::from(largest) + kernels.vector().sum_exp(logits, largest).ln()
}

/// The index of the largest logit, the lowest if several are equal.
pub fn argmax(logits: &[f32]) -> u32 {
    Kernels::detect().vector().argmax(logits) as u32
}

/// The error for logits without probabilities (NaN): the model's weights may be damaged.
pub fn no_score() -> ondol::Error {
    SamplerError::NothingToSample.into()
}

/// The `n` likeliest tokens with their `ln p`, in descending order; equal ones by
/// ascending id. Tokens with probability 0 are left out.
///
/// # Errors
/// [`no_score`].
pub fn top(logits: &[f32], n: usize) -> ondol::Result<Vec<(u32, f64)>> {
    let total = log_sum_exp(logits);
    if !total.is_finite() {
        return Err(no_score());
    }
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let better = |a: &u32, b: &u32| {
        logits[*b as usize]
            .total_cmp(&logits[*a as usize])
            .then(a.cmp(b))
    };
    let n = n.min(ids.len());
    if n < ids.len() && n > 0 {
        ids.select_nth_unstable_by(n - 1, better);
    }
    ids.truncate(n);
    ids.sort_by(better);
    let with_lnp = |id| (id, f64::from(logits[id as usize]) - total);
    let mut top: Vec<_> = ids.into_iter().map(with_lnp).collect();
    top.retain(|(_, lnp)| lnp.is_finite());
    Ok(top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_at_any_scale() {
        for shift in [-1e4_f32, 0.0, 1e4] {
            let logits: Vec<f32> = [0.5, -1.0, 2.0, 2.0].iter().map(|l| l + shift).collect();
            let total = log_sum_exp(&logits);
            let sum: f64 = logits.iter().map(|&l| (f64::from(l) - total).exp()).sum();
            assert!((sum - 1.0).abs() < 1e-3, "{shift}: {sum}");
        }
    }

    #[test]
    fn top_is_sorted_and_ties_go_to_the_lower_id() {
        let logits = [1.0, 3.0, 2.0, 3.0, -5.0];
        let ids: Vec<u32> = top(&logits, 3).unwrap().iter().map(|t| t.0).collect();
        assert_eq!(ids, [1, 3, 2]);
        assert_eq!(argmax(&logits), 1);
        assert_eq!(top(&logits, 99).unwrap().len(), 5);
        assert!((top(&[0.0, 0.0], 1).unwrap()[0].1 - 0.5_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn scores_that_give_no_probabilities_are_an_error() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for logits in [[nan, nan], [nan, 1.0], [-inf, -inf], [inf, 1.0]] {
            assert!(top(&logits, 2).is_err(), "{logits:?}");
        }
        assert_eq!(top(&[-inf, 1.0], 2).unwrap(), [(1, 0.0)]);
    }
}

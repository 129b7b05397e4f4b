//! Logits to log-probabilities.

use ondol::kernels::Kernels;

/// `ln p` of every token can be had from the logits and this: `logit - log_sum_exp`.
///
/// Shifted by the largest logit, so that neither size nor number of the logits matters.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let kernels = Kernels::detect();
    let largest = kernels.vector().max(logits);
    f64::from(largest) + kernels.vector().sum_exp(logits, largest).ln()
}

/// The index of the largest logit; the first of equals.
pub fn argmax(logits: &[f32]) -> u32 {
    Kernels::detect().vector().argmax(logits) as u32
}

/// The `n` likeliest tokens with their `ln p`, best first; of equals, the lower id first.
pub fn top(logits: &[f32], n: usize) -> Vec<(u32, f64)> {
    let total = log_sum_exp(logits);
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
    ids.into_iter()
        .map(|id| (id, f64::from(logits[id as usize]) - total))
        .collect()
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
        let ids: Vec<u32> = top(&logits, 3).iter().map(|t| t.0).collect();
        assert_eq!(ids, [1, 3, 2]);
        assert_eq!(argmax(&logits), 1);
        assert_eq!(top(&logits, 99).len(), 5);
        assert!((top(&[0.0, 0.0], 1)[0].1 - 0.5_f64.ln()).abs() < 1e-12);
    }
}

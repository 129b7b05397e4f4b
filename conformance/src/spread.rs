//! Repeated measurements of one quantity.

use crate::end_to_end::{mean, percentile};
use serde::{Deserialize, Serialize};

/// What n runs of one measurement found, all in the unit of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many runs.
    pub runs: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation (with n - 1); 0 for one run.
    pub deviation: f64,
    /// The smallest.
    pub min: f64,
    /// The median. Percentiles are nearest ranks: each is one of the runs.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of these runs; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Spread> {
        if values.is_empty() {
            return None;
        }
        let mean = mean(values);
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        let degrees = (values.len() - 1).max(1) as f64;
        let share = |share| percentile(values, share);
        Some(Spread {
            runs: values.len(),
            mean,
            deviation: (squares / degrees).sqrt(),
            min: share(0.0),
            p50: share(0.5),
            p90: share(0.9),
            p99: share(0.99),
            max: share(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_its_runs() {
        let values: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        let spread = Spread::of(&values).unwrap();
        assert_eq!((spread.runs, spread.mean), (10, 5.5));
        assert_eq!((spread.min, spread.p50, spread.p90), (1.0, 5.0, 9.0));
        assert_eq!((spread.p99, spread.max), (10.0, 10.0));
        // The squares of 0.5, 1.5, .. 4.5, twice, over 9.
        assert!((spread.deviation - (82.5f64 / 9.0).sqrt()).abs() < 1e-12);
        assert_eq!(Spread::of(&[3.0]).unwrap().deviation, 0.0);
        assert_eq!(Spread::of(&[]), None);
    }
}

//! Numbers that are drawn from the seed of a run, so that no device learns the test,
//! and anybody can repeat it.

/// Draws from a seed.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// Draws for one purpose: draws for different purposes are independent.
    pub fn new(seed: u64, purpose: &str) -> Draw {
        // FNV-1a
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        let purpose = purpose.bytes().fold(0xCBF2_9CE4_8422_2325, hash);
        Draw(seed ^ purpose)
    }

    /// 64 random bits (SplitMix64).
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A number from 0 to `end - 1`.
    ///
    /// # Panics
    /// If `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// Normally distributed numbers (a sum of twelve uniform ones).
    pub fn normal(&mut self, len: usize) -> Vec<f32> {
        let mut uniform = || (self.bits() >> 40) as f32 / (1u64 << 24) as f32;
        (0..len)
            .map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
            .collect()
    }
}

/// Normally distributed numbers, the same for the same seed.
pub fn normal(seed: u64, len: usize) -> Vec<f32> {
    Draw::new(seed, "normal").normal(len)
}

/// Numbers of rows that calls of up to `most` rows are tested with: those at which
/// tiles and programs begin and end, and one that is drawn.
pub fn row_counts(seed: u64, most: usize) -> Vec<usize> {
    let drawn = 1 + Draw::new(seed, "rows").below(most);
    let mut counts = vec![1, 2, 31, 64, 65, 255, 256, most, drawn];
    counts.retain(|&rows| rows <= most);
    counts.sort_unstable();
    counts.dedup();
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_and_purpose_alone() {
        let first = |seed, purpose| Draw::new(seed, purpose).bits();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
    }

    #[test]
    fn normal_numbers_are_normal() {
        let numbers = normal(7, 10_000);
        let mean = numbers.iter().sum::<f32>() / 10_000.0;
        let variance = numbers.iter().map(|x| x * x).sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05);
    }

    #[test]
    fn row_counts_are_possible_and_cover_the_edges() {
        assert_eq!(row_counts(1, 1), [1]);
        let counts = row_counts(5, 256);
        for edge in [1, 2, 31, 64, 65, 255, 256] {
            assert!(counts.contains(&edge), "{counts:?}");
        }
        assert!(counts.iter().all(|&rows| (1..=256).contains(&rows)));
        let drawn: Vec<_> = (0..20).map(|seed| row_counts(seed, 256).len()).collect();
        assert!(drawn.contains(&8), "{drawn:?}");
    }
}

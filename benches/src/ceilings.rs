//! The limits of the machine: plain loops that only read memory or only multiply.

use std::sync::Barrier;
use std::time::Instant;

/// Tries of each loop; the best counts.
const TRIES: usize = 5;

/// The fewest bytes that a try reads.
const ENOUGH: usize = 1 << 30;

/// Bytes/s of a loop that only reads a buffer of `bytes` bytes, on `threads` threads.
pub fn read_bytes_per_s(bytes: usize, threads: usize) -> f64 {
    // Not zeros: the system may map them all to one page.
    let buffer: Vec<u64> = (1..=(bytes / 8).max(threads) as u64).collect();
    let passes = ENOUGH.div_ceil(bytes.max(1)).max(2);
    let part = buffer.len().div_ceil(threads);
    let speed = |_| {
        let seconds = slowest(&buffer, part, passes);
        (size_of_val(buffer.as_slice()) * passes) as f64 / seconds
    };
    (0..TRIES).map(speed).fold(0.0, f64::max)
}

/// Seconds until the last thread has read its part `passes` times.
fn slowest(buffer: &[u64], part: usize, passes: usize) -> f64 {
    let parts = buffer.chunks(part);
    let start = Barrier::new(parts.len());
    std::thread::scope(|scope| {
        let read = |part| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                let begun = Instant::now();
                for _ in 0..passes {
                    std::hint::black_box(xor(std::hint::black_box(part)));
                }
                begun.elapsed().as_secs_f64()
            })
        };
        let readers: Vec<_> = parts.map(read).collect();
        let times = readers
            .into_iter()
            .map(|reader| reader.join().unwrap_or(f64::INFINITY));
        times.fold(0.0, f64::max)
    })
}

fn xor(words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { x86::xor(words) };
    }
    xor_lanes(words)
}

/// XORs sixteen lanes at a time, for which the compiler uses vectors.
#[inline(always)]
fn xor_lanes(words: &[u64]) -> u64 {
    let mut lanes = [0; 16];
    let (blocks, rest) = words.as_chunks::<16>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block) {
            *lane ^= word;
        }
    }
    lanes.iter().chain(rest).fold(0, |all, word| all ^ word)
}

/// Multiply-adds/s of one thread that only computes, in registers. `None` where
/// no loop is written for the CPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peaks {
    /// 8-bit products that are added in 16 bits (`maddubs` and an add, AVX2).
    pub maddubs: Option<f64>,
    /// 8-bit products that are added in 32 bits (`dpbusd`, AVX-512 VNNI).
    pub dpbusd: Option<f64>,
    /// Products of `f32` (`fma`, AVX2).
    pub fma: Option<f64>,
}

impl Peaks {
    /// Measures the peaks of this CPU.
    pub fn measure() -> Peaks {
        #[cfg(target_arch = "x86_64")]
        return x86::peaks();
        #[cfg(not(target_arch = "x86_64"))]
        Peaks::default()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Peaks, TRIES};
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::time::Instant;

    /// Rounds of a loop.
    const ROUNDS: usize = 4_000_000;
    /// Independent sums of a loop, so that no instruction waits for the one before it.
    const SUMS: usize = 10;

    #[target_feature(enable = "avx2")]
    pub fn xor(words: &[u64]) -> u64 {
        super::xor_lanes(words)
    }

    pub fn peaks() -> Peaks {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let vnni = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        // SAFETY: each loop runs only where the CPU has what it needs.
        unsafe {
            Peaks {
                maddubs: avx2.then(|| best(32, || maddubs())),
                dpbusd: vnni.then(|| best(64, || dpbusd())),
                fma: avx2.then(|| best(8, || fma())),
            }
        }
    }

    /// Multiply-adds/s of the fastest try of a loop whose instruction does `lanes` of them.
    fn best(lanes: usize, run: impl Fn()) -> f64 {
        let seconds = |_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        };
        let fastest = (0..TRIES).map(seconds).fold(f64::INFINITY, f64::min);
        (ROUNDS * SUMS * lanes) as f64 / fastest
    }

    #[target_feature(enable = "avx2")]
    fn maddubs() {
        let (mut w, mut x) = (_mm256_set1_epi8(3), _mm256_set1_epi8(5));
        let mut sums = [_mm256_setzero_si256(); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                // SAFETY: nothing is executed; the compiler must think that both
                // change, or it would multiply once for all sums.
                unsafe {
                    asm!("/* {0} {1} */", inout(ymm_reg) w, inout(ymm_reg) x, options(nomem, nostack))
                };
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(w, x));
            }
        }
        std::hint::black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn dpbusd() {
        let (mut w, mut x) = (_mm512_set1_epi8(3), _mm512_set1_epi8(5));
        let mut sums = [_mm512_setzero_si512(); SUMS];
        for _ in 0..ROUNDS {
            // SAFETY: nothing is executed; the compiler must think that both change.
            unsafe {
                asm!("/* {0} {1} */", inout(zmm_reg) w, inout(zmm_reg) x, options(nomem, nostack))
            };
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, w, x);
            }
        }
        std::hint::black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    fn fma() {
        let (mut w, mut x) = (_mm256_set1_ps(1.0001), _mm256_set1_ps(0.5));
        let mut sums = [_mm256_setzero_ps(); SUMS];
        for _ in 0..ROUNDS {
            // SAFETY: nothing is executed; the compiler must think that both change.
            unsafe {
                asm!("/* {0} {1} */", inout(ymm_reg) w, inout(ymm_reg) x, options(nomem, nostack))
            };
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(w, x, *sum);
            }
        }
        std::hint::black_box(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_loop_reads_every_word() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let words: Vec<u64> = (0..len).map(|i| i * 0x9E37_79B9).collect();
            let expected = words.iter().fold(0, |all, word| all ^ word);
            assert_eq!(xor(&words), expected, "{len} words");
        }
    }

    #[test]
    fn reading_has_a_finite_speed_on_any_number_of_threads() {
        for threads in [1, 2, 3] {
            let speed = read_bytes_per_s(1 << 20, threads);
            assert!(speed.is_finite() && speed > 1e8, "{speed}");
        }
    }

    #[test]
    fn a_peak_is_what_a_loop_took_that_ran() {
        let peaks = Peaks::measure();
        for peak in [peaks.maddubs, peaks.dpbusd, peaks.fma]
            .into_iter()
            .flatten()
        {
            assert!(peak > 1e8 && peak < 1e13, "{peak}");
        }
    }
}

//! Level `end-to-end`: the delegate's logits compared with those of the CPU in full
//! precision, token by token, in Korean and English.
//!
//! For comparison, published figures for a model of 8 billion weights: the format Q8_0
//! alone has a mean KL divergence of 0.00024 and the same likeliest token in 99.2 % of
//! positions, Q5_K_M 0.0047 and 96.5 %. Small models change more. Activations rounded
//! to 8 bits in groups of 32 gave SmolLM2 (135 million weights) 0.0070 and 96.1 % in
//! Korean, 0.0024 and 95.3 % in English; gemma 3 (270 million) 0.0035 and 97.3 % in
//! Korean, 0.0021 and 97.3 % in English. So a device with 8-bit activations has wider
//! limits.

use crate::gates::worse;
use crate::report::{Level, Series, Text};
use crate::{Kit, Result};
use ondol::delegate::Activations;
use ondol::{CancelToken, Isa as Kernels, Session, SessionOptions};

/// The limits for a text.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Mean of the Kullback-Leibler divergence, in nats.
    mean_kl: f64,
    /// Its 99th percentile.
    p99_kl: f64,
    /// Share of positions with the same likeliest next token.
    top1: f64,
}

impl Limits {
    fn of(activations: Activations) -> Limits {
        match activations {
            Activations::I8 | Activations::Bf16 => Limits {
                mean_kl: 0.01,
                p99_kl: 0.1,
                top1: 0.94,
            },
            Activations::I16 | Activations::F16 | Activations::F32 => Limits {
                mean_kl: 0.005,
                p99_kl: 0.05,
                top1: 0.97,
            },
        }
    }
}

/// Rows of logits at a time.
const SCORE_ROWS: usize = 16;
/// The smallest number of tokens of a text.
const LEAST: usize = 16;

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    let Ok(offload) = &kit.offload else {
        kit.nothing_runs(level, "e2e.runs");
        return Ok(());
    };
    for text in &kit.setup.texts {
        say(&format!("the text `{}`, token by token", text.name));
        let tokens = kit.tokens(text, LEAST)?;
        let options = |kernels, offload| SessionOptions {
            score_rows: SCORE_ROWS,
            kernels,
            offload,
            ..kit.options(tokens.len())
        };
        let mut truth = kit.model.session(&options(Some(Kernels::Exact), None))?;
        let mut cpu = kit.model.session(&options(None, None))?;
        let mut npu = kit.model.session(&options(None, Some(offload.clone())))?;
        let [of_cpu, of_npu] = compare(&mut truth, [&mut cpu, &mut npu], &tokens, kit.setup.rows)?;
        let limits = Limits::of(kit.delegate.info().activations);
        judge(level, &text.name, &of_npu, limits);
        let id = |what: &str| format!("e2e.{}.{what}", text.name);
        let title = Text::new(
            format!("{}: mean KL of the CPU's own fast kernels", text.name),
            format!("{}: CPU 고속 커널 자체의 평균 KL", text.name),
        );
        level.tell(&id("cpu-kl"), title, mean(&kls(&of_cpu)), "nats");
        level.series.push(curve(&text.name, &of_npu, limits.p99_kl));
        let ran = npu.engine().offload_stats().map_or(0, |stats| stats.on_cpu);
        let title = Text::new(
            format!("{}: spans that fell back to the CPU", text.name),
            format!("{}: CPU로 되돌아간 구간 수", text.name),
        );
        level.at_most(&id("fallbacks"), title, ran as f64, 0.0);
    }
    Ok(())
}

/// The difference of two distributions of the next token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// KL divergence of the distribution from the reference, in nats.
    pub kl: f64,
    /// Whether the likeliest token is the same.
    pub same: bool,
}

/// The differences of two sessions from a reference session, for every position.
pub fn compare(
    truth: &mut Session,
    others: [&mut Session; 2],
    tokens: &[u32],
    slice: usize,
) -> Result<[Vec<Difference>; 2]> {
    let cancel = CancelToken::new();
    let mut found = [Vec::new(), Vec::new()];
    let [first, second] = others;
    for tokens in tokens.chunks(slice) {
        let mut expected: Vec<Vec<f32>> = Vec::new();
        truth.score(tokens, &cancel, |_, logits| expected.push(logits.to_vec()))?;
        for (session, found) in [&mut *first, &mut *second].into_iter().zip(&mut found) {
            let each = |i: usize, logits: &[f32]| found.push(difference(&expected[i], logits));
            session.score(tokens, &cancel, each)?;
        }
    }
    Ok(found)
}

/// KL divergence of the distribution of `logits` from that of the expected ones.
pub fn difference(expected: &[f32], found: &[f32]) -> Difference {
    let (p, q) = (log_softmax(expected), log_softmax(found));
    let kl = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
    Difference {
        kl,
        same: argmax(expected) == argmax(found),
    }
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let shifted = || logits.iter().map(|&x| f64::from(x) - f64::from(largest));
    let total = shifted().map(f64::exp).sum::<f64>().ln();
    shifted().map(|x| x - total).collect()
}

fn argmax(logits: &[f32]) -> Option<usize> {
    let by_size = |a: &(usize, &f32), b: &(usize, &f32)| a.1.total_cmp(b.1).then(b.0.cmp(&a.0));
    logits.iter().enumerate().max_by(by_size).map(|(i, _)| i)
}

pub fn kls(differences: &[Difference]) -> Vec<f64> {
    differences.iter().map(|difference| difference.kl).collect()
}

/// The mean; NaN for an empty list.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The quantile for a share; NaN counts as the largest value. NaN for an empty list.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    // A NaN with its sign set would come first.
    let unsigned = |x: &f64| if x.is_nan() { f64::NAN } else { *x };
    let mut sorted: Vec<f64> = values.iter().map(unsigned).collect();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(at.clamp(1, sorted.len().max(1)) - 1)
        .copied()
        .unwrap_or(f64::NAN)
}

fn judge(level: &mut Level, name: &str, differences: &[Difference], limits: Limits) {
    let kls = kls(differences);
    let title = |en: &str, ko: &str| Text::new(format!("{name}: {en}"), format!("{name}: {ko}"));
    let id = |what: &str| format!("e2e.{name}.{what}");
    let tokens = format!("{} tokens", differences.len());
    let gate = level.at_most(
        &id("mean-kl"),
        title("mean KL", "평균 KL"),
        mean(&kls),
        limits.mean_kl,
    );
    gate.unit = "nats".to_owned();
    gate.note = tokens;
    let worst = title("99th percentile of KL", "KL의 99번째 백분위수");
    level
        .at_most(&id("p99-kl"), worst, percentile(&kls, 0.99), limits.p99_kl)
        .unit = "nats".to_owned();
    let same = differences
        .iter()
        .filter(|difference| difference.same)
        .count();
    let share = same as f64 / differences.len() as f64;
    let title = title("same likeliest token", "최우선 토큰 일치율");
    level.at_least(&id("top1"), title, share, limits.top1);
}

fn curve(name: &str, differences: &[Difference], limit: f64) -> Series {
    Series {
        title: Text::new(format!("{name}: KL by token"), format!("{name}: 토큰별 KL")),
        x_label: Text::new("token", "토큰"),
        y_label: Text::new("KL in nats", "KL (nats)"),
        x: (1..=differences.len()).map(|i| i as f64).collect(),
        // Rounding can make a divergence of nothing a little negative.
        y: differences
            .iter()
            .map(|difference| worse(difference.kl, 1e-12))
            .collect(),
        limit: Some(limit),
        logarithmic: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    #[test]
    fn divergence_of_known_distributions() {
        let logits = |p: &[f64]| p.iter().map(|p| p.ln() as f32 + 3.0).collect::<Vec<f32>>();
        let (p, q) = (logits(&[0.5, 0.3, 0.2]), logits(&[0.2, 0.3, 0.5]));
        let found = difference(&p, &q);
        let expected = 0.5 * (0.5f64 / 0.2).ln() + 0.2 * (0.2f64 / 0.5).ln();
        assert!((found.kl - expected).abs() < 1e-6 && !found.same);
        let itself = difference(&p, &p);
        assert!(itself.kl.abs() < 1e-12 && itself.same);
        assert!(difference(&p, &[0.0, f32::NAN, 0.0]).kl.is_nan());
    }

    #[test]
    fn percentiles_are_of_the_sorted() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert_eq!(percentile(&values, 1.0), 100.0);
        assert!(percentile(&[1.0, f64::NAN], 0.99).is_nan());
        assert!(percentile(&[1.0, -f64::NAN], 0.99).is_nan());
        assert!(percentile(&[], 0.5).is_nan() && mean(&[]).is_nan());
    }

    /// A device that gives one NaN, and a text of which no token was compared.
    #[test]
    fn what_can_not_be_compared_fails() {
        let limits = Limits::of(Activations::F32);
        let good = difference(&[0.0, 1.0], &[0.0, 1.0]);
        let bad = difference(&[0.0, 1.0], &[f32::NAN, 1.0]);
        for differences in [&[good, bad][..], &[]] {
            let mut level = Level::new(crate::report::Name::EndToEnd);
            judge(&mut level, "text", differences, limits);
            let verdicts = level.gates.iter().map(|gate| gate.verdict);
            assert!(verdicts.eq([Verdict::Fail; 3]), "{:?}", level.gates);
        }
    }
}

//! Level `end-to-end`: a text's tokens, one distribution of the next token after each,
//! in prefill with every number of rows and in decode.
//!
//! Two questions are asked apart. *The device*: is it as near to exact sums on the
//! weights that were handed over as its declared arithmetic explains? *The format*
//! ([`Format`]): what do those weights, and that arithmetic, lose against the file in
//! full precision? A part that computes rightly passes the first, whatever the second
//! says.

use crate::draw::row_counts;
use crate::gates::worse;
use crate::model::NO_PARTS;
use crate::report::{Format, Level, Losses, Record, Series, Step, Text, TextLosses};
use crate::{Kit, Result};
use ondol::delegate::Offload;
use ondol::{CancelToken, Isa, Session, SessionOptions};

/// Rows of logits at a time.
const SCORE_ROWS: usize = 16;
/// Tokens that are decoded, at the end of a text.
const DECODED: usize = 32;
/// The smallest number of tokens of a text.
const LEAST: usize = 48;
/// Likeliest tokens that are kept of a distribution.
const TOP: usize = 10;
/// Two likeliest tokens count as the same if their logits differ by no more than this.
const NEAR_TIE: f64 = 0.1;

/// What is kept of the texts beside gates and curves.
#[derive(Default)]
pub struct Answers {
    /// `None` if nothing was compared.
    pub format: Option<Format>,
    /// The device's distributions in decode, text by text.
    pub records: Vec<Record>,
}

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<Answers> {
    let Ok(offload) = &kit.offload else {
        kit.nothing_runs(level, "e2e.runs");
        return Ok(Answers::default());
    };
    let Some(parts) = kit.parts(offload) else {
        let title = Text::new("the device's answers", "장치의 응답");
        level.not_measured("e2e.runs", title, NO_PARTS);
        return Ok(Answers::default());
    };
    let (mut format, mut records) = (Format::default(), Vec::new());
    for text in &kit.setup.texts {
        say(&format!("the text `{}`, token by token", text.name));
        let tokens = kit.tokens(text, LEAST)?;
        let mut lanes = Lanes::new(kit, offload, [&parts.exact, &parts.declared], tokens.len())?;
        let (prompt, rest) = tokens.split_at(tokens.len() - DECODED);
        let prefill = lanes.prefill(prompt, &row_counts(kit.setup.seed, kit.rows()))?;
        judge(level, &text.name, "prefill", &prefill);
        let decode = lanes.decode(rest)?;
        judge(level, &text.name, "decode", &decode);
        level.series.push(curve(&text.name, &prefill, &decode));
        let with = |lane: fn(&Compared) -> &[Difference]| losses(lane(&prefill), lane(&decode));
        format.texts.push(TextLosses {
            name: text.name.clone(),
            weights: with(|compared| &compared.weights),
            all: with(|compared| &compared.all),
            cpu: with(|compared| &compared.cpu),
        });
        records.push(record(prompt, rest, &prefill, &decode));
        kit.work(level, text, &lanes.device);
    }
    format.judge();
    Ok(Answers {
        format: Some(format),
        records,
    })
}

/// The device's distribution before every decoded token.
fn record(prompt: &[u32], rest: &[u32], prefill: &Compared, decode: &Compared) -> Record {
    let tops = prefill.tops.last().into_iter().chain(&decode.tops);
    let steps = rest.iter().zip(tops);
    Record {
        prompt_ids: prompt.to_vec(),
        steps: steps
            .map(|(&id, top)| Step {
                id,
                top: top.clone(),
            })
            .collect(),
    }
}

/// The difference of two distributions of the next token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// KL divergence of the distribution from the reference, in nats.
    pub kl: f64,
    /// If the likeliest token differs from the reference's: the reference's logit of its own
    /// likeliest token minus its logit of the other one. Otherwise 0.
    pub flip: f64,
}

/// Sessions that compute the same tokens.
struct Lanes {
    /// The CPU in full precision, on the file.
    file: Session,
    /// The CPU's fast kernels, on the file.
    cpu: Session,
    /// Exact sums on the weights that were handed over.
    exact: Session,
    /// The declared arithmetic.
    declared: Session,
    device: Session,
}

/// The differences at each position, of one distribution from another.
#[derive(Default)]
struct Compared {
    /// The device from exact sums on the same weights.
    device: Vec<Difference>,
    /// The declared arithmetic from exact sums on the same weights.
    declared: Vec<Difference>,
    /// Exact sums on the weights that were handed over, from the file.
    weights: Vec<Difference>,
    /// The declared arithmetic on the weights that were handed over, from the file.
    all: Vec<Difference>,
    /// The CPU's fast kernels from the CPU in full precision, both on the file.
    cpu: Vec<Difference>,
    /// The device's likeliest tokens with `ln p`, best first.
    tops: Vec<Vec<(u32, f64)>>,
}

impl Lanes {
    fn new(kit: &Kit, device: &Offload, parts: [&Offload; 2], context: usize) -> Result<Lanes> {
        let session = |kernels, offload: Option<&Offload>| {
            let options = SessionOptions {
                score_rows: SCORE_ROWS,
                kernels,
                offload: offload.cloned(),
                ..kit.options(context)
            };
            kit.model.session(&options)
        };
        let [exact, declared] = parts;
        Ok(Lanes {
            file: session(Some(Isa::Exact), None)?,
            cpu: session(None, None)?,
            exact: session(None, Some(exact))?,
            declared: session(None, Some(declared))?,
            device: session(None, Some(device))?,
        })
    }

    /// Computes a prompt in passes of these numbers of rows, in turn.
    fn prefill(&mut self, mut tokens: &[u32], counts: &[usize]) -> Result<Compared> {
        let mut compared = Compared::default();
        for &count in counts.iter().cycle() {
            if tokens.is_empty() {
                break;
            }
            let (pass, rest) = tokens.split_at(count.min(tokens.len()));
            let all = |session: &mut Session| -> Result<Vec<Distribution>> {
                let mut all = Vec::with_capacity(pass.len());
                session.score(pass, &CancelToken::new(), |_, logits| {
                    all.push(Distribution::of(logits));
                })?;
                Ok(all)
            };
            self.compare(all, &mut compared)?;
            tokens = rest;
        }
        Ok(compared)
    }

    fn decode(&mut self, tokens: &[u32]) -> Result<Compared> {
        let mut compared = Compared::default();
        for &token in tokens {
            let one = |session: &mut Session| Ok(vec![Distribution::of(session.decode(token)?)]);
            self.compare(one, &mut compared)?;
        }
        Ok(compared)
    }

    /// Runs the same pass in every session and compares the distributions.
    fn compare(
        &mut self,
        mut pass: impl FnMut(&mut Session) -> Result<Vec<Distribution>>,
        compared: &mut Compared,
    ) -> Result<()> {
        let differences = |expected: &[Distribution], found: &[Distribution]| -> Vec<Difference> {
            let pairs = expected.iter().zip(found);
            pairs.map(|(a, b)| a.difference(b)).collect()
        };
        let file = pass(&mut self.file)?;
        compared
            .cpu
            .extend(differences(&file, &pass(&mut self.cpu)?));
        let exact = pass(&mut self.exact)?;
        compared.weights.extend(differences(&file, &exact));
        let declared = pass(&mut self.declared)?;
        compared.all.extend(differences(&file, &declared));
        compared.declared.extend(differences(&exact, &declared));
        let device = pass(&mut self.device)?;
        compared.tops.extend(device.iter().map(Distribution::top));
        compared.device.extend(differences(&exact, &device));
        Ok(())
    }
}

/// A distribution of the next token.
pub struct Distribution {
    logits: Vec<f32>,
    /// The logarithm of the sum of their exponentials: `ln p` is a logit minus this.
    total: f64,
    /// Index of the largest logit; `None` without logits.
    likeliest: Option<usize>,
}

impl Distribution {
    pub fn of(logits: &[f32]) -> Distribution {
        let largest = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let largest = f64::from(largest);
        let shifted = logits.iter().map(|&x| (f64::from(x) - largest).exp());
        let by_size = |a: &(usize, &f32), b: &(usize, &f32)| a.1.total_cmp(b.1).then(b.0.cmp(&a.0));
        let likeliest = logits.iter().enumerate().max_by(by_size);
        Distribution {
            total: largest + shifted.sum::<f64>().ln(),
            likeliest: likeliest.map(|(i, _)| i),
            logits: logits.to_vec(),
        }
    }

    pub fn ln_p(&self, token: usize) -> f64 {
        f64::from(self.logits[token]) - self.total
    }

    /// The difference of `found` from this one.
    fn difference(&self, found: &Distribution) -> Difference {
        let tokens = 0..self.logits.len().min(found.logits.len());
        let terms = tokens.map(|token| {
            let (p, q) = (self.ln_p(token), found.ln_p(token));
            p.exp() * (p - q)
        });
        let flip = match (self.likeliest, found.likeliest) {
            (Some(wanted), Some(got)) => self.ln_p(wanted) - self.ln_p(got),
            _ => f64::NAN,
        };
        Difference {
            kl: terms.sum(),
            flip,
        }
    }

    /// The likeliest tokens with `ln p`, best first.
    fn top(&self) -> Vec<(u32, f64)> {
        let tokens = 0..self.logits.len();
        let mut all: Vec<(u32, f64)> = tokens.map(|i| (i as u32, self.ln_p(i))).collect();
        let better = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if all.len() > TOP {
            all.select_nth_unstable_by(TOP, better);
            all.truncate(TOP);
        }
        all.sort_by(better);
        all
    }
}

/// The difference of the distribution of `found` from that of the expected logits.
pub fn difference(expected: &[f32], found: &[f32]) -> Difference {
    Distribution::of(expected).difference(&Distribution::of(found))
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
    // `total_cmp` would sort a NaN whose sign bit is set first.
    let unsigned = |x: &f64| if x.is_nan() { f64::NAN } else { *x };
    let mut sorted: Vec<f64> = values.iter().map(unsigned).collect();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(at.clamp(1, sorted.len().max(1)) - 1)
        .copied()
        .unwrap_or(f64::NAN)
}

// ---- the device -------------------------------------------------------------------

/// The largest mean divergence that passes, in nats, for a device whose declared arithmetic
/// has the mean divergence `explained`. The constant allows for half floats between operations.
pub fn kl_limit(explained: f64) -> f64 {
    4.0 * explained + 2e-5
}

fn judge(level: &mut Level, name: &str, stage: &str, compared: &Compared) {
    let title = |en: &str, ko: &str| {
        let stage_ko = if stage == "decode" {
            "디코드"
        } else {
            "프리필"
        };
        Text::new(
            format!("{name}, {stage}: {en}"),
            format!("{name}, {stage_ko}: {ko}"),
        )
    };
    let id = |what: &str| format!("e2e.{name}.{stage}.{what}");
    let [device, declared] = [&compared.device, &compared.declared].map(|lane| kls(lane));
    let gate = level.at_most(
        &id("mean-kl"),
        title("mean KL from exact sums", "정확한 합과의 평균 KL"),
        mean(&device),
        kl_limit(mean(&declared)),
    );
    gate.unit = "nats".to_owned();
    gate.note = format!("tokens: {}", device.len());
    let worst = |kls: &[f64]| kls.iter().copied().fold(0.0, worse);
    let title_worst = title("KL of the worst token", "최악 토큰의 KL");
    let limit = 8.0 * worst(&declared) + 1e-3;
    level
        .at_most(&id("worst-kl"), title_worst, worst(&device), limit)
        .unit = "nats".to_owned();
    let flip = |lane: &[Difference]| lane.iter().map(|d| d.flip).fold(0.0, worse);
    let title_flip = title(
        "largest preference among tokens where another one became the likeliest",
        "최우선 토큰이 바뀐 위치에서 원래 토큰이 앞섰던 최대 차이",
    );
    let limit = 4.0 * flip(&compared.declared) + NEAR_TIE / 2.0;
    level
        .at_most(&id("flip"), title_flip, flip(&compared.device), limit)
        .unit = "nats".to_owned();
}

fn curve(name: &str, prefill: &Compared, decode: &Compared) -> Series {
    let all = prefill.device.iter().chain(&decode.device);
    // Rounding can make a divergence of zero a little negative.
    let y: Vec<f64> = all.map(|d| worse(d.kl, 1e-12)).collect();
    Series {
        title: Text::new(
            format!("{name}: KL per token, the device from exact sums"),
            format!("{name}: 토큰별 KL(장치와 정확한 합)"),
        ),
        x_label: Text::new("token", "토큰"),
        y_label: Text::new("KL in nats", "KL (nats)"),
        x: (1..=y.len()).map(|i| i as f64).collect(),
        y,
        limit: None,
        logarithmic: true,
    }
}

// ---- the format -------------------------------------------------------------------

fn losses(prefill: &[Difference], decode: &[Difference]) -> Losses {
    let all: Vec<Difference> = prefill.iter().chain(decode).copied().collect();
    let kls = kls(&all);
    let kept = all.iter().filter(|d| d.flip <= NEAR_TIE).count();
    Losses {
        tokens: all.len(),
        mean_kl: mean(&kls),
        p99_kl: percentile(&kls, 0.99),
        top1: kept as f64 / all.len() as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Name, Verdict};

    #[test]
    fn divergence_of_known_distributions() {
        let logits = |p: &[f64]| p.iter().map(|p| p.ln() as f32 + 3.0).collect::<Vec<f32>>();
        let (p, q) = (logits(&[0.5, 0.3, 0.2]), logits(&[0.2, 0.3, 0.5]));
        let found = difference(&p, &q);
        let expected = 0.5 * (0.5f64 / 0.2).ln() + 0.2 * (0.2f64 / 0.5).ln();
        assert!((found.kl - expected).abs() < 1e-6, "{found:?}");
        assert!((found.flip - (0.5f64 / 0.2).ln()).abs() < 1e-6, "{found:?}");
        let itself = difference(&p, &p);
        assert!(itself.kl.abs() < 1e-12 && itself.flip == 0.0);
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

    fn verdicts(device: &[Difference], declared: &[Difference]) -> Vec<Verdict> {
        let compared = Compared {
            device: device.to_vec(),
            declared: declared.to_vec(),
            ..Compared::default()
        };
        let mut level = Level::new(Name::EndToEnd);
        judge(&mut level, "text", "prefill", &compared);
        level.gates.iter().map(|gate| gate.verdict).collect()
    }

    /// A device that gives one NaN, and a text of which no token was compared.
    #[test]
    fn what_can_not_be_compared_fails() {
        let good = difference(&[0.0, 1.0], &[0.0, 1.0]);
        let bad = difference(&[0.0, 1.0], &[f32::NAN, 1.0]);
        assert_eq!(verdicts(&[good, bad], &[good; 2])[..2], [Verdict::Fail; 2]);
        assert_eq!(verdicts(&[], &[])[0], Verdict::Fail);
    }

    #[test]
    fn the_declared_arithmetic_is_the_measure() {
        let of = |kl: f64, flip: f64| Difference { kl, flip };
        let near = [of(1e-3, 0.0), of(2e-3, 0.01)];
        let far = [of(1e-2, 0.0), of(1e-1, 1.0)];
        assert_eq!(verdicts(&near, &near), [Verdict::Pass; 3]);
        assert_eq!(verdicts(&far, &near), [Verdict::Fail; 3]);
        assert_eq!(verdicts(&far, &far), [Verdict::Pass; 3]);
    }

    #[test]
    fn near_ties_are_no_losses_of_a_format() {
        let of = |flip: f64| Difference { kl: 0.0, flip };
        let losses = losses(&[of(0.0), of(0.05)], &[of(0.5), of(f64::NAN)]);
        assert_eq!((losses.top1, losses.tokens), (0.5, 4));
    }
}

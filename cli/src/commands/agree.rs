//! `ondol agree MODEL RECORD`.

use crate::engine::EngineArgs;
use crate::error::{Error, Result};
use crate::likelihood::{argmax, log_sum_exp};
use crate::progress::Progress;
use crate::record::{self, Record, Step};
use crate::{model, numbers, output};
use ondol::{CancelToken, Model, Session};
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `ondol agree`.
#[derive(clap::Args)]
#[command(after_help = "\
Each prompt is run, followed by the record's tokens, so that every step has the same context. A
record without `prompt` is one of ids alone.
  top1           share of steps whose likeliest token is the record's likeliest
  top1_clear     the same, where the record's first two are more than 0.5 nats apart
  mean_abs_dlnp  mean |difference of ln p| over the record's likeliest tokens
  worst          the largest of these differences, and where it is

Examples:
  ondol agree smollm2 smollm2.f32.jsonl
  ondol agree model.gguf record.jsonl --kernels exact --max-dlnp 0.01 --min-top1 0.99 --json")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    model: String,
    /// A record, written by `ondol record` or by another engine
    record: PathBuf,
    /// Fail if mean_abs_dlnp is larger than this, in nats
    #[arg(long, value_name = "X", value_parser = numbers::at_least_zero::<f64>)]
    max_dlnp: Option<f64>,
    /// Fail if top1 is smaller than this (0 to 1)
    #[arg(long, value_name = "Y", value_parser = numbers::share::<f64>)]
    min_top1: Option<f64>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Compares and prints. Exceeding a limit is an error.
pub fn run(args: &Args) -> Result<()> {
    let records = record::read(&args.record)?;
    let model = model::open(&args.model)?;
    check_ids(&records, &model)?;
    let longest = records
        .iter()
        .map(|r| r.prompt_ids.len() + r.steps.len())
        .max()
        .unwrap_or(1);
    let mut session = args.engine.session(&model, &args.model, Some(longest))?;
    let progress = Progress::pieces("comparing", records.len() as u64);
    let (mut overall, mut prompts) = (Tally::default(), Vec::new());
    for (index, record) in records.iter().enumerate() {
        let tally =
            replay(&mut session, index, record).map_err(model::runtime_error(&args.model))?;
        overall.add(&tally);
        prompts.push(tally.report());
        progress.add(1);
    }
    progress.finish();
    print(args, &records, &overall.report(), &prompts)?;
    check_evidence(args, &overall)?;
    judge(args.max_dlnp, args.min_top1, &overall).map_err(Error::Disagrees)
}

/// Checks that the record has the data that the limits need.
fn check_evidence(args: &Args, found: &Tally) -> Result<()> {
    let missing = match found {
        Tally { steps: 0, .. } if args.min_top1.is_some() => "has no steps",
        Tally { listed: 0, .. } if args.max_dlnp.is_some() => "lists no tokens with their ln p",
        _ => return Ok(()),
    };
    Err(Error::NoEvidence {
        path: args.record.clone(),
        missing,
    })
}

/// Checks that the prompts have the record's tokens in this vocabulary, and that the
/// vocabulary has all tokens of the record.
fn check_ids(records: &[Record], model: &Model) -> Result<()> {
    let vocabulary = model.graph().vocabulary;
    for (index, record) in records.iter().enumerate() {
        if let Some(prompt) = &record.prompt {
            check_prompt(
                index,
                prompt,
                &model.encode_prompt(prompt),
                &record.prompt_ids,
            )?;
        }
        let listed = record
            .steps
            .iter()
            .flat_map(|step| step.top.iter().map(|&(id, _)| id).chain([step.id]))
            .chain(record.prompt_ids.iter().copied());
        if let Some(id) = listed.into_iter().find(|&id| id as usize >= vocabulary) {
            let reason =
                format!("prompt {index} names token {id}, past the vocabulary of {vocabulary}");
            return Err(Error::Disagrees(reason));
        }
    }
    Ok(())
}

/// Checks that a prompt has the record's tokens.
fn check_prompt(index: usize, prompt: &str, here: &[u32], record: &[u32]) -> Result<()> {
    if here == record {
        return Ok(());
    }
    let pairs = here.iter().zip(record);
    let at = pairs.take_while(|(a, b)| a == b).count();
    Err(Error::Disagrees(format!(
        "prompt {index} ({prompt:?}) has other tokens from place {at} on: {:?} here, {:?} in the record",
        here.get(at..).unwrap_or_default(),
        record.get(at..).unwrap_or_default(),
    )))
}

/// Runs a prompt and then the record's tokens.
fn replay(session: &mut Session, prompt: usize, record: &Record) -> ondol::Result<Tally> {
    let mut tally = Tally::default();
    session.clear();
    let mut logits = session.prefill(&record.prompt_ids, &CancelToken::new())?;
    for (index, step) in record.steps.iter().enumerate() {
        tally.count(prompt, index, step, logits);
        if index + 1 < record.steps.len() {
            logits = session.decode(step.id)?;
        }
    }
    Ok(tally)
}

/// The largest difference and its place.
#[derive(Debug, Clone, Copy, Serialize)]
struct Worst {
    dlnp: f64,
    prompt: usize,
    step: usize,
    token: u32,
}

/// Sums over steps.
#[derive(Default)]
struct Tally {
    steps: usize,
    same: usize,
    clear: usize,
    clear_same: usize,
    listed: usize,
    sum: f64,
    worst: Option<Worst>,
}

impl Tally {
    fn count(&mut self, prompt: usize, index: usize, step: &Step, logits: &[f32]) {
        let same = usize::from(argmax(logits) == step.likeliest());
        self.steps += 1;
        self.same += same;
        if step.is_clear() {
            self.clear += 1;
            self.clear_same += same;
        }
        let total = log_sum_exp(logits);
        for &(token, lnp) in &step.top {
            let dlnp = (f64::from(logits[token as usize]) - total - lnp).abs();
            self.listed += 1;
            self.sum += dlnp;
            self.keep_worse(Worst {
                dlnp,
                prompt,
                step: index,
                token,
            });
        }
    }

    /// NaN counts as larger than any number.
    fn keep_worse(&mut self, other: Worst) {
        let badness = |w: Worst| {
            if w.dlnp.is_nan() {
                f64::INFINITY
            } else {
                w.dlnp
            }
        };
        if self
            .worst
            .is_none_or(|worst| badness(other) > badness(worst))
        {
            self.worst = Some(other);
        }
    }

    fn add(&mut self, other: &Tally) {
        self.steps += other.steps;
        self.same += other.same;
        self.clear += other.clear;
        self.clear_same += other.clear_same;
        self.listed += other.listed;
        self.sum += other.sum;
        if let Some(worst) = other.worst {
            self.keep_worse(worst);
        }
    }

    fn report(&self) -> Report {
        let share = |part: usize, whole: usize| {
            if whole == 0 {
                1.0
            } else {
                part as f64 / whole as f64
            }
        };
        Report {
            steps: self.steps,
            top1: share(self.same, self.steps),
            top1_clear: share(self.clear_same, self.clear),
            mean_abs_dlnp: if self.listed == 0 {
                0.0
            } else {
                self.sum / self.listed as f64
            },
            worst: self.worst,
        }
    }
}

/// How well a model agrees with a record, over all steps or over those of one prompt.
#[derive(Serialize)]
struct Report {
    steps: usize,
    top1: f64,
    top1_clear: f64,
    mean_abs_dlnp: f64,
    worst: Option<Worst>,
}

/// The first words of a prompt, or its number of tokens.
fn beginning(record: &Record) -> String {
    match &record.prompt {
        Some(prompt) => format!("{:?}", prompt.chars().take(40).collect::<String>()),
        None => format!("{} tokens", record.prompt_ids.len()),
    }
}

fn print(args: &Args, records: &[Record], overall: &Report, prompts: &[Report]) -> Result<()> {
    if args.json {
        return output::json(&serde_json::json!({ "overall": overall, "prompts": prompts }));
    }
    output::line("steps    top1  top1_clear  mean |d ln p|   worst  prompt")?;
    let row = |report: &Report, name: &str| {
        output::line(format!(
            "{:5}  {:5.1}%  {:9.1}%  {:13.4}  {:6.3}  {name}",
            report.steps,
            report.top1 * 100.0,
            report.top1_clear * 100.0,
            report.mean_abs_dlnp,
            report.worst.map_or(0.0, |worst| worst.dlnp),
        ))
    };
    for (report, record) in prompts.iter().zip(records) {
        row(report, &beginning(record))?;
    }
    row(overall, "overall")?;
    if let Some(Worst {
        dlnp,
        prompt,
        step,
        token,
    }) = overall.worst
    {
        output::line(format!(
            "worst: |d ln p| = {dlnp:.4} at prompt {prompt}, step {step}, token {token}"
        ))?;
    }
    Ok(())
}

/// Checks the results against the limits. NaN fails, and so does a result without steps.
fn judge(max_dlnp: Option<f64>, min_top1: Option<f64>, found: &Tally) -> Result<(), String> {
    let Report {
        mean_abs_dlnp,
        top1,
        ..
    } = found.report();
    if let Some(limit) = max_dlnp {
        let is_met = found.listed > 0 && mean_abs_dlnp <= limit;
        is_met.then_some(()).ok_or_else(|| {
            let tokens = found.listed;
            format!(
                "mean |d ln p| of {tokens} tokens is {mean_abs_dlnp:.5}, at most {limit} is allowed"
            )
        })?;
    }
    if let Some(limit) = min_top1 {
        let is_met = found.steps > 0 && top1 >= limit;
        is_met.then_some(()).ok_or_else(|| {
            let steps = found.steps;
            format!("top-1 of {steps} steps is {top1:.5}, at least {limit} is required")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits whose `ln p` are those given, up to rounding.
    fn logits(lnp: &[f64]) -> Vec<f32> {
        lnp.iter().map(|&l| l as f32).collect()
    }

    #[test]
    fn differences_are_counted_and_the_worst_is_kept_with_its_place() {
        let truth = [0.7_f64.ln(), 0.2_f64.ln(), 0.1_f64.ln()];
        let step = Step {
            id: 0,
            top: vec![(0, truth[0]), (1, truth[1] + 0.25)],
        };
        let mut tally = Tally::default();
        tally.count(3, 4, &step, &logits(&truth));
        let report = tally.report();
        assert_eq!(
            (report.steps, report.top1, report.top1_clear),
            (1, 1.0, 1.0)
        );
        assert!(
            (report.mean_abs_dlnp - 0.125).abs() < 1e-6,
            "{}",
            report.mean_abs_dlnp
        );
        let worst = report.worst.unwrap();
        assert_eq!((worst.prompt, worst.step, worst.token), (3, 4, 1));
        assert!((worst.dlnp - 0.25).abs() < 1e-6);
    }

    #[test]
    fn a_close_call_counts_for_top1_but_not_for_top1_clear() {
        let step = Step {
            id: 1,
            top: vec![(1, -0.6), (0, -0.9)],
        };
        let mut tally = Tally::default();
        tally.count(0, 0, &step, &logits(&[-0.6, -0.9]));
        let report = tally.report();
        assert_eq!((report.top1, tally.clear, report.top1_clear), (0.0, 0, 1.0));
    }

    #[test]
    fn nan_is_the_worst_of_all() {
        let step = Step {
            id: 0,
            top: vec![(0, -0.1), (1, -9.0)],
        };
        let mut tally = Tally::default();
        tally.count(0, 0, &step, &[f32::NAN, 0.0]);
        assert!(tally.report().worst.unwrap().dlnp.is_nan());
        assert!(tally.report().mean_abs_dlnp.is_nan());
    }

    #[test]
    fn nothing_but_numbers_passes() {
        let step = Step {
            id: 1,
            top: vec![(1, -9.0), (0, -0.1)],
        };
        let tally = |logits: &[f32]| {
            let mut tally = Tally::default();
            tally.count(0, 0, &step, logits);
            tally
        };
        let good = tally(&[-9.0, -0.0001]);
        assert_eq!(judge(Some(20.0), Some(1.0), &good), Ok(()));
        assert!(judge(Some(0.5), None, &good).is_err_and(|e| e.contains("d ln p")));
        let no_number = tally(&[f32::NAN, 0.0]);
        assert!(judge(Some(f64::MAX), None, &no_number).is_err_and(|e| e.contains("NaN")));
        // Limits that no number is within.
        assert!(judge(Some(f64::NAN), None, &good).is_err());
        assert!(judge(None, Some(f64::NAN), &good).is_err());
        // A record without steps, or without likeliest tokens.
        assert!(judge(Some(1.0), None, &Tally::default()).is_err());
        assert!(judge(None, Some(0.0), &Tally::default()).is_err());
    }
}

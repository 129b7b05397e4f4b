//! `ondol bench MODEL`.

mod auto;

use super::profile::{self, ProfileArgs};
use crate::answer::ScreenFigures;
use crate::delegate::{DelegateArgs, DelegateFigures};
use crate::engine::{Screen, at_least_one};
use crate::error::{Error, Result};
use crate::numbers::count;
use crate::packed::LimitArgs;
use crate::{model, output};
use ondol::machine::cpu_name;
use ondol::{CancelToken, Engine, Isa, KvType, Model, SamplerOptions, Session, SessionOptions};
use ondol_conformance::report::Submission;
use ondol_conformance::scattered;
use ondol_kernels::Kernels;
use serde::Serialize;
use std::time::Instant;

/// Arguments of `ondol bench`.
#[derive(clap::Args)]
#[command(after_help = "\
ppN is prefill of N tokens, tgN is decode of N tokens, each from an empty context, after one run to
warm up. tgNxS is decode of N tokens in each of S sessions of one engine, with one pass for all
sessions; its speed counts the tokens of all. The table shows the median and the range of the runs.
With --screen, decode continues with the likeliest token, else with tokens from the whole vocabulary.

--profile k-perf measures every model with every -p and -n: time to the first token, time per
further token, tokens per second, and joules per token where there is a meter; FOLDER gets them as
JSON, HTML, CSV and .xlsx. --profile mlperf-mobile keeps the run rules of MLPerf Mobile's single
stream; FOLDER gets JSON, HTML and the answers to the tasks. A device that is not hardware gets no
profile.

--auto runs each stage on the CPU and with the device of --delegate, in turns, and keeps the faster
split for the device, its plug-in, the model and the CPU; `ondol run --delegate` and apps with the
same folder of programs use it. It measures the model as `ondol run` opens it: the packed copy.

Examples:
  ondol bench smollm2
  ondol bench model.gguf -p 0 -n 128 --sessions 1,4,8
  ondol bench model.gguf -p 512,2048 -n 128 -t 1,2 -r 5 --json
  ondol bench 1b-q8_0.gguf 1b-q4_0.gguf --profile k-perf -p 128,512,2048 -n 32,128 --report forms
  ondol bench model.gguf --profile mlperf-mobile -p 128 -n 32 --ambient 22.5 --tasks kmmlu=law.csv
  ondol bench smollm2 --delegate ./libvendor.so --auto")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    pub model: String,
    /// Tokens of prefill; 0 measures no prefill
    #[arg(
        short,
        long,
        value_name = "N,..",
        value_delimiter = ',',
        default_value = "512",
        value_parser = count
    )]
    pub prompt: Vec<usize>,
    /// Tokens of decode; 0 measures no decode
    #[arg(
        short = 'n',
        long = "generate",
        value_name = "N,..",
        value_delimiter = ',',
        default_value = "128",
        value_parser = count
    )]
    pub generate: Vec<usize>,
    /// Sessions that decode together, 32 at most; 1 is ordinary decode
    #[arg(
        long,
        value_name = "S,..",
        value_delimiter = ',',
        default_value = "1",
        value_parser = sessions
    )]
    pub sessions: Vec<usize>,
    /// Threads [default: all cores]
    #[arg(short, long, value_name = "N,..", value_delimiter = ',', value_parser = at_least_one)]
    pub threads: Vec<usize>,
    /// Measured runs of each test
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub repeat: usize,
    /// Kernels: exact (full precision, slow), scalar, or those of an instruction set
    /// (avx2, avx-vnni, avx512; neon, dotprod, i8mm) [default: the fastest for this
    /// CPU]
    #[arg(long, value_name = "ISA")]
    pub kernels: Option<Isa>,
    /// Type of the KV cache: f16; q8_0, which takes little more than half the memory; or
    /// f32, which takes twice the memory and rounds nothing
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub kv_type: KvType,
    /// Measure the packed copy of the model, which `ondol run` uses [default: the
    /// model's own file]
    #[arg(long)]
    pub packed: bool,
    #[command(flatten)]
    pub limit: LimitArgs,
    /// If the file has a screen of the output head, decode with margin X for the 40
    /// likeliest tokens, as `ondol run` does by default; `off` computes every logit
    #[arg(long, value_name = "X|off", default_value = "off")]
    pub screen: Screen,
    #[command(flatten)]
    pub delegate: DelegateArgs,
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Measure which stages the device computes faster than the CPU, and keep the result;
    /// takes one length of prefill and of decode, and one number of threads
    #[arg(
        long,
        requires = "delegate",
        conflicts_with_all = ["sessions", "packed", "screen", "delegate_stages", "profile"]
    )]
    auto: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Everything measured, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    model: ModelInfo,
    machine: Machine,
    kv_type: &'static str,
    results: Vec<Measurement>,
}

#[derive(Serialize)]
struct ModelInfo {
    name: String,
    path: String,
    bytes: u64,
    packed: bool,
}

#[derive(Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    kernels: String,
}

#[derive(Serialize)]
struct Measurement {
    test: String,
    threads: usize,
    tokens_per_s: Spread,
    /// Counts over all tests so far with this number of threads.
    screen: Option<ScreenFigures>,
    /// Counts over all tests so far with this number of threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    delegate: Option<DelegateFigures>,
}

#[derive(Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// What is timed.
#[derive(Clone, Copy)]
enum Test {
    Prefill(usize),
    Decode(usize),
    /// Tokens of each session, and the number of sessions that decode together.
    Batch(usize, usize),
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<()> {
    if let Some(profile) = args.profile.profile {
        return profile::run(args, profile);
    }
    if args.profile.submission.stated() != Submission::default() {
        let why = "--applicant, --tester and --serial stand on the forms of a --profile";
        return Err(Error::Usage(why.to_owned()));
    }
    if args.auto {
        return auto::run(args);
    }
    let prefills = args.prompt.iter().map(|&n| Test::Prefill(n));
    let decodes = args.generate.iter().flat_map(|&n| {
        let sessions = args.sessions.iter();
        sessions.map(move |&sessions| match sessions {
            1 => Test::Decode(n),
            _ => Test::Batch(n, sessions),
        })
    });
    let tests: Vec<Test> = prefills
        .chain(decodes)
        .filter(|test| test.tokens() > 0)
        .collect();
    let Some(context) = tests.iter().map(|test| test.tokens()).max() else {
        return Err(Error::Usage(
            "there is nothing to measure: give -p or -n a number above 0".to_owned(),
        ));
    };
    let model = match args.packed {
        true => model::open_packed(&args.model, &args.limit)?,
        false => model::open(&args.model)?,
    };
    let (mut results, mut kernels) = (Vec::new(), String::new());
    let offload = args.delegate.offload(&model, &args.model)?;
    for threads in thread_counts(args) {
        let options = SessionOptions {
            offload: offload.clone(),
            threads,
            kernels: args.kernels,
            context: Some(context),
            kv_type: args.kv_type,
            screen: args.screen.0,
            batch: args.sessions.iter().copied().max().unwrap_or(1),
            ..SessionOptions::default()
        };
        let mut session = model
            .session(&options)
            .map_err(model::runtime_error(&args.model))?;
        kernels = session.engine().isa().to_string();
        for &test in &tests {
            note!(
                "measuring {} with {} threads",
                test.name(),
                session.engine().threads()
            );
            let tokens_per_s = measure(&mut session, test, args.repeat)
                .map_err(model::runtime_error(&args.model))?;
            results.push(Measurement {
                test: test.name(),
                threads: session.engine().threads(),
                tokens_per_s,
                screen: session.screen_stats().map(ScreenFigures::from),
                delegate: DelegateFigures::of(&session),
            });
        }
        DelegateFigures::of(&session)
            .iter()
            .for_each(DelegateFigures::say);
    }
    print(
        args,
        &Report {
            model: describe(args, &model),
            machine: machine(kernels),
            kv_type: args.kv_type.name(),
            results,
        },
    )
}

/// Parses a number of sessions that can decode together.
fn sessions(text: &str) -> std::result::Result<usize, String> {
    match at_least_one(text)? {
        sessions @ 1..=32 => Ok(sessions),
        sessions => Err(format!("{sessions} sessions; at most 32 decode together")),
    }
}

/// The counts from the command line, or the runtime's default.
fn thread_counts(args: &Args) -> Vec<Option<usize>> {
    match args.threads.as_slice() {
        [] => vec![None],
        counts => counts.iter().copied().map(Some).collect(),
    }
}

impl Test {
    /// Tokens of one session.
    fn tokens(self) -> usize {
        match self {
            Test::Prefill(n) | Test::Decode(n) | Test::Batch(n, _) => n,
        }
    }

    fn sessions(self) -> usize {
        match self {
            Test::Prefill(_) | Test::Decode(_) => 1,
            Test::Batch(_, sessions) => sessions,
        }
    }

    fn name(self) -> String {
        match self {
            Test::Prefill(n) => format!("pp{n}"),
            Test::Decode(n) => format!("tg{n}"),
            Test::Batch(n, sessions) => format!("tg{n}x{sessions}"),
        }
    }

    fn run(self, session: &mut Session, tokens: &[u32]) -> ondol::Result<()> {
        match self {
            Test::Prefill(_) => session.prefill(tokens, &CancelToken::new()).map(drop),
            Test::Decode(count) if session.screen_stats().is_some() => {
                decode_screened(session, tokens[0], count)
            }
            Test::Decode(_) => tokens
                .iter()
                .try_for_each(|&token| session.decode(token).map(drop)),
            Test::Batch(_, sessions) => decode_batches(session.engine(), tokens, sessions),
        }
    }
}

/// Decodes all tokens in each of several new sessions.
fn decode_batches(engine: &Engine, tokens: &[u32], sessions: usize) -> ondol::Result<()> {
    let mut batch = engine.batch(sessions)?;
    let sessions = (0..sessions).map(|_| engine.session());
    let mut sessions = sessions.collect::<ondol::Result<Vec<Session>>>()?;
    tokens.iter().try_for_each(|&token| {
        let rows = sessions.iter_mut().map(|session| (session, token));
        batch.decode(&mut rows.collect::<Vec<_>>())
    })
}

/// Decodes as `ondol run` does by default, continuing with the likeliest token: after
/// random tokens many more tokens would be likely than in any text.
fn decode_screened(session: &mut Session, first: u32, count: usize) -> ondol::Result<()> {
    let isa = session.engine().isa();
    let kernels = Kernels::with_isa(isa).ok_or(ondol::Error::UnsupportedIsa(isa))?;
    let mut token = first;
    for _ in 0..count {
        let logits = session.decode_top(token, SamplerOptions::default().top_k)?;
        token = kernels.vector().argmax(logits) as u32;
    }
    Ok(())
}

fn measure(session: &mut Session, test: Test, repeat: usize) -> ondol::Result<Spread> {
    let tokens = scattered(test.tokens(), session.model().graph().vocabulary);
    let mut speeds = Vec::with_capacity(repeat);
    for round in 0..=repeat {
        session.clear();
        let start = Instant::now();
        test.run(session, &tokens)?;
        let speed = (tokens.len() * test.sessions()) as f64 / start.elapsed().as_secs_f64();
        // Round 0 brings the weights into the page cache and wakes the threads.
        if round > 0 {
            speeds.push(speed);
        }
    }
    speeds.sort_by(f64::total_cmp);
    Ok(Spread {
        median: median(&speeds),
        min: speeds[0],
        max: speeds[speeds.len() - 1],
    })
}

/// The middle of sorted values.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

fn describe(args: &Args, model: &Model) -> ModelInfo {
    ModelInfo {
        name: model.name().to_owned(),
        path: args.model.clone(),
        bytes: model.file_bytes(),
        packed: model.is_packed(),
    }
}

fn machine(kernels: String) -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    Machine {
        cpu: cpu_name(),
        cores,
        kernels,
    }
}

fn print(args: &Args, report: &Report) -> Result<()> {
    if args.json {
        return output::json(report);
    }
    let Report {
        model,
        machine,
        kv_type,
        results,
    } = report;
    output::line(format!(
        "{} ({}), {}{}",
        model.name,
        model.path,
        output::megabytes(model.bytes),
        if model.packed { ", packed" } else { "" }
    ))?;
    output::line(format!(
        "{}, {} cores, {} kernels, {} KV cache\n",
        machine.cpu, machine.cores, machine.kernels, kv_type
    ))?;
    output::line("test      threads  tokens/s  (min .. max)")?;
    for Measurement {
        test,
        threads,
        tokens_per_s: Spread { median, min, max },
        screen: _,
        delegate: _,
    } in results
    {
        output::line(format!(
            "{test:8}  {threads:7}  {median:8.2}  ({min:.2} .. {max:.2})"
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_runs_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[1.0, 2.0, 10.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 4.0, 10.0]), 3.0);
    }

    #[test]
    fn tokens_stay_in_the_vocabulary_and_spread_over_it() {
        let tokens = scattered(1000, 512);
        assert!(tokens.iter().all(|&t| t < 512));
        assert!(
            tokens
                .iter()
                .collect::<std::collections::HashSet<_>>()
                .len()
                > 256
        );
    }
}

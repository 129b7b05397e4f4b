//! `ondol bench MODEL.. --profile NAME`: what a laboratory hands in.

use super::{bench, inspect};
use crate::engine::at_least_one;
use crate::error::{Error, Result};
use crate::outfile::Outfile;
use crate::progress::Progress;
use crate::submission::SubmissionArgs;
use crate::{model, numbers, output, sheet};
use ondol::delegate::{Label, Offload};
use ondol::{Model, Session, SessionOptions};
use ondol_conformance::html::profile::{grid_page, mobile_page};
use ondol_conformance::meter::{Meter, MeterError};
use ondol_conformance::profile::grid::{self, Cell, Grid, Measuring};
use ondol_conformance::profile::mobile::{self, Mobile, Plan, Rules};
use ondol_conformance::profile::tasks::{Score, TaskError, TaskSet, Tasks};
use ondol_conformance::profile::{Measured, Setting};
use ondol_conformance::report;
use ondol_conformance::spread::Spread;
use serde::Serialize;
use std::cell::Cell as Shared;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// The most tokens of a context for sets of tasks: MLPerf Mobile's longest prompt, 2048,
/// and an answer to it.
const TASK_CONTEXT: usize = 4096;

/// Options of profiles.
#[derive(clap::Args)]
pub struct ProfileArgs {
    /// For k-perf: the same model in other precisions, and other models
    #[arg(requires = "profile")]
    more: Vec<String>,
    /// Measure what a laboratory hands in: k-perf is a grid of models, -p and -n;
    /// mlperf-mobile answers one query after another for 60 s and 1024 queries
    #[arg(long, value_name = "NAME")]
    pub profile: Option<Profile>,
    /// A folder for the forms of a profile; it is created, and `ondol report sign` signs it
    #[arg(long, value_name = "FOLDER", requires = "profile")]
    report: Option<PathBuf>,
    /// Replace existing forms in FOLDER
    #[arg(long, requires = "report")]
    force: bool,
    /// The log of an outside meter that runs meanwhile: CSV with columns `time` (seconds
    /// since 1970, or as in 2026-11-30T12:00:00+09:00) and `watts`; read at the end
    /// [default: the CPU's own counters, RAPL, if they can be read]
    #[arg(long, value_name = "FILE", requires = "profile")]
    meter: Option<PathBuf>,
    /// For mlperf-mobile: the temperature of the room in degrees Celsius, 20 to 25
    #[arg(long, value_name = "C", requires = "profile", value_parser = numbers::any::<f64>)]
    ambient: Option<f64>,
    /// For mlperf-mobile: the least duration in seconds; a shorter one does not conform
    /// [default: 60]
    #[arg(long, value_name = "S", requires = "profile", value_parser = numbers::at_least_zero::<f64>)]
    min_seconds: Option<f64>,
    /// For mlperf-mobile: the least number of queries; fewer do not conform [default: 1024]
    #[arg(long, value_name = "N", requires = "profile", value_parser = at_least_one)]
    min_queries: Option<usize>,
    /// For mlperf-mobile: a set of tasks for accuracy, mmlu=FILE, kmmlu=FILE, ifeval=FILE
    /// or ko-ifeval=FILE; may be repeated
    #[arg(long, value_name = "KIND=FILE", requires = "profile")]
    tasks: Vec<TaskSet>,
    #[command(flatten)]
    pub submission: SubmissionArgs,
}

/// The profiles.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// A grid of precisions and lengths.
    KPerf,
    /// Single stream after the run rules of MLPerf Mobile.
    MlperfMobile,
}

impl Profile {
    /// The forms, in the order in which they are written.
    fn files(self) -> &'static [&'static str] {
        match self {
            Profile::KPerf => &["k-perf.json", "k-perf.html", "k-perf.csv", "k-perf.xlsx"],
            Profile::MlperfMobile => &["mlperf-mobile.json", "mlperf-mobile.html", "answers.jsonl"],
        }
    }
}

/// Measures a profile and writes its forms.
pub fn run(args: &bench::Args, profile: Profile) -> Result<()> {
    check(args, profile)?;
    let files = forms(args, profile)?;
    match profile {
        Profile::KPerf => k_perf(args, files),
        Profile::MlperfMobile => mlperf_mobile(args, files),
    }
}

/// Refuses options that a profile would ignore.
fn check(args: &bench::Args, profile: Profile) -> Result<()> {
    let own = &args.profile;
    let refuse = |why: &str| Err(Error::Usage(why.to_owned()));
    if args.threads.len() > 1 || args.sessions != [1] || args.screen.0.is_some() {
        return refuse(
            "a profile measures one session, with one number of threads, without --screen",
        );
    }
    if args.prompt.contains(&0) || args.generate.contains(&0) {
        return refuse("a profile needs -p and -n of at least 1");
    }
    let of_mobile = own.ambient.is_some()
        || own.min_seconds.is_some()
        || own.min_queries.is_some()
        || !own.tasks.is_empty();
    match profile {
        Profile::KPerf if of_mobile => refuse(
            "--ambient, --min-seconds, --min-queries and --tasks are options of mlperf-mobile",
        ),
        Profile::MlperfMobile
            if args.prompt.len() + args.generate.len() > 2 || !own.more.is_empty() =>
        {
            refuse("mlperf-mobile measures one model with one -p and one -n")
        }
        _ => Ok(()),
    }
}

/// Opens the forms before anything is measured.
fn forms(args: &bench::Args, profile: Profile) -> Result<Vec<Outfile>> {
    let own = &args.profile;
    let Some(folder) = &own.report else {
        return Ok(Vec::new());
    };
    let sets = own.tasks.iter().map(|set| set.path.clone());
    let mut inputs: Vec<PathBuf> = sets.chain(own.meter.clone()).collect();
    for name in models(args) {
        inputs.extend(model::paths(name)?);
    }
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let files = profile.files().iter();
    let open = |name: &&str| Outfile::create(&folder.join(name), own.force, &inputs);
    files.map(open).collect()
}

fn models(args: &bench::Args) -> impl Iterator<Item = &String> {
    std::iter::once(&args.model).chain(&args.profile.more)
}

/// A model that is ready to be measured.
struct Ready {
    model: Model,
    offload: Option<Offload>,
    measured: Measured,
}

fn ready(args: &bench::Args, name: &str) -> Result<Ready> {
    let model = match args.packed {
        true => model::open_packed(name, &args.limit)?,
        false => model::open(name)?,
    };
    let offload = args.delegate.offload(&model, name)?;
    let label = offload
        .as_ref()
        .map(|offload| offload.delegate().info().label);
    if let Some(label) = label.filter(|label| *label != Label::Hardware) {
        return Err(Error::NotHardware {
            label: label.to_string(),
        });
    }
    let files = model::paths(name)?;
    Ok(Ready {
        measured: Measured {
            model: report::Model::of(&model, name, &files)?,
            precision: inspect::precision(name)?,
        },
        model,
        offload,
    })
}

fn session(args: &bench::Args, ready: &Ready, context: usize) -> Result<Session> {
    let options = SessionOptions {
        offload: ready.offload.clone(),
        threads: args.threads.first().copied(),
        kernels: args.kernels,
        context: Some(context),
        kv_type: args.kv_type,
        ..SessionOptions::default()
    };
    let session = ready.model.session(&options);
    session.map_err(model::runtime_error(&ready.measured.model.name))
}

fn setting(args: &bench::Args, session: &Session) -> Result<Setting> {
    let plugin = args.delegate.delegate.as_deref();
    let submission = args.profile.submission.stated();
    let command = std::env::args().collect();
    Ok(Setting::of(session, plugin, submission, command)?)
}

fn longest(lengths: &[usize]) -> usize {
    lengths.iter().copied().max().unwrap_or(1)
}

fn k_perf(args: &bench::Args, files: Vec<Outfile>) -> Result<()> {
    let context = longest(&args.prompt) + longest(&args.generate);
    let cells = models(args).count() * args.prompt.len() * args.generate.len();
    let progress = Progress::pieces("measuring", cells as u64);
    let mut measuring = Measuring::begin(Meter::find(args.profile.meter.as_deref()));
    let mut found = None;
    for name in models(args) {
        let ready = ready(args, name)?;
        let mut session = session(args, &ready, context)?;
        measuring.model(ready.measured.clone());
        for &input in &args.prompt {
            for &output in &args.generate {
                let done = measuring.cell(&mut session, [input, output], args.repeat);
                done.map_err(model::runtime_error(name))?;
                progress.add(1);
            }
        }
        found.get_or_insert(setting(args, &session)?);
    }
    progress.finish();
    let setting = found.ok_or_else(|| Error::Usage("a model is needed".to_owned()))?;
    let (grid, failed) = measuring.end(setting);
    match args.json {
        true => output::json(&grid)?,
        false => print_grid(&grid)?,
    }
    if !files.is_empty() {
        let texts = [json(&grid)?, grid_page(&grid), grid::to_csv(&grid)];
        let mut made: Vec<Vec<u8>> = texts.map(String::into_bytes).into();
        made.push(sheet::of_grid(&grid)?);
        write(files, &made)?;
    }
    complain(failed)
}

/// A meter that could not be used is an error, after everything else is written.
fn complain(failed: Option<MeterError>) -> Result<()> {
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn mlperf_mobile(args: &bench::Args, files: Vec<Outfile>) -> Result<()> {
    let own = &args.profile;
    // Before the run, which lasts a minute: a file that is no set of tasks loses nothing.
    let sets: Vec<Tasks> = own
        .tasks
        .iter()
        .map(Tasks::read)
        .collect::<Result<_, TaskError>>()?;
    let ready = ready(args, &args.model)?;
    let lengths = [longest(&args.prompt), longest(&args.generate)];
    let plan = Plan {
        model: ready.measured.clone(),
        lengths,
        rules: Rules {
            seconds: own.min_seconds.unwrap_or(Rules::PUBLIC.seconds),
            queries: own.min_queries.unwrap_or(Rules::PUBLIC.queries),
        },
        ambient: own.ambient,
    };
    let mut session = session(args, &ready, lengths[0] + lengths[1])?;
    let meter = Meter::find(own.meter.as_deref());
    let run = timed(&mut session, &plan, meter).map_err(model::runtime_error(&args.model))?;
    let setting = setting(args, &session)?;
    drop(session);
    let scores = scores(args, &ready, sets)?;
    let answers: String = scores.iter().flat_map(answer_lines).collect();
    let nothing = || Error::Usage("there is nothing to measure".to_owned());
    let (mobile, failed) = run.report(plan, setting, scores).ok_or_else(nothing)?;
    match args.json {
        true => output::json(&mobile)?,
        false => print_mobile(&mobile)?,
    }
    if !files.is_empty() {
        let texts = [json(&mobile)?, mobile_page(&mobile), answers];
        write(files, &texts.map(String::into_bytes))?;
    }
    complain(failed)
}

/// The queries, with their progress in thousandths.
fn timed(session: &mut Session, plan: &Plan, meter: Meter) -> ondol::Result<mobile::Run> {
    const PARTS: f64 = 1000.0;
    let progress = Progress::pieces("queries, in thousandths", PARTS as u64);
    let shown = Shared::new(0);
    let rules = plan.rules;
    let run = mobile::run(session, plan, meter, |queries, seconds| {
        let shares = [
            queries as f64 / rules.queries as f64,
            seconds / rules.seconds,
        ];
        // Without a least duration the second share is infinite, or no number at first.
        let parts = shares.into_iter().fold(1.0, f64::min) * PARTS;
        progress.add(parts as u64 - shown.get());
        shown.set(parts as u64);
    });
    progress.finish();
    run
}

/// Accuracy on every set of tasks.
fn scores(args: &bench::Args, ready: &Ready, sets: Vec<Tasks>) -> Result<Vec<Score>> {
    if sets.is_empty() {
        return Ok(Vec::new());
    }
    let context = ready.model.graph().trained_context.min(TASK_CONTEXT);
    let mut session = session(args, ready, context)?;
    let score = |set: Tasks| {
        let (kind, mut progress) = (set.kind().to_string(), None);
        let found = set.run(&mut session, |_, all| {
            let label = || Progress::pieces(&kind, all as u64);
            progress.get_or_insert_with(label).add(1);
        });
        progress.iter().for_each(Progress::finish);
        found.map_err(model::runtime_error(&args.model))
    };
    sets.into_iter().map(score).collect()
}

/// The answers to a set, one a line with the set's kind.
fn answer_lines(score: &Score) -> Vec<String> {
    let answers = score.answers.iter();
    let line = |answer| {
        format!(
            "{}\n",
            serde_json::json!({ "set": score.kind, "answer": answer })
        )
    };
    answers.map(line).collect()
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|e| Error::Standard {
        stream: "output",
        source: e.into(),
    })
}

fn write(files: Vec<Outfile>, made: &[Vec<u8>]) -> Result<()> {
    for (mut file, bytes) in files.into_iter().zip(made) {
        let path = file.path().to_path_buf();
        file.write_all(bytes).map_err(Error::file("write", &path))?;
        file.commit()?;
        note!("wrote {}", path.display());
    }
    Ok(())
}

fn print_grid(grid: &Grid) -> Result<()> {
    output::line(
        "input  output  ttft ms p50  tpot ms p50  tokens/s p50 (min .. max)  J/token  model",
    )?;
    grid.cells.iter().try_for_each(print_cell)?;
    output::line(format!("\n{}", grid.notice.en))
}

fn print_cell(cell: &Cell) -> Result<()> {
    let speed = cell.tokens_per_s;
    let joules = cell.joules.and_then(|joules| joules.whole);
    output::line(format!(
        "{:5}  {:6}  {:11.2}  {:>11}  {:12.2} ({:.2} .. {:.2})  {:>7}  {} {}",
        cell.input,
        cell.output,
        cell.ttft_ms.p50,
        cell.tpot_ms
            .map_or("-".to_owned(), |tpot| format!("{:.2}", tpot.p50)),
        speed.p50,
        speed.min,
        speed.max,
        joules.map_or("-".to_owned(), |joules| format!("{joules:.3}")),
        cell.model,
        cell.precision,
    ))
}

fn print_mobile(mobile: &Mobile) -> Result<()> {
    let spread = |name: &str, spread: &Spread| {
        output::line(format!(
            "{name:8}  p90 {:.2} ms, median {:.2} ms ({:.2} .. {:.2})",
            spread.p90, spread.p50, spread.min, spread.max
        ))
    };
    output::line(format!(
        "queries   {} in {:.1} s",
        mobile.queries, mobile.seconds
    ))?;
    spread("latency", &mobile.latency_ms)?;
    spread("ttft", &mobile.ttft_ms)?;
    mobile
        .tpot_ms
        .iter()
        .try_for_each(|tpot| spread("tpot", tpot))?;
    mobile.tasks.iter().try_for_each(print_score)?;
    let departures = mobile.departures.iter();
    let departures: Vec<&str> = departures.map(|text| text.en.as_str()).collect();
    match departures.is_empty() {
        true => output::line("rules     kept")?,
        false => output::line(format!("rules     NOT kept: {}", departures.join("; ")))?,
    }
    output::line(format!("\n{}", mobile.notice.en))
}

fn print_score(score: &Score) -> Result<()> {
    let not_judged = score.instructions.as_ref().map_or(String::new(), |all| {
        format!(
            "; of {} instructions {} followed, {} not judged",
            all.judged + all.not_judged,
            all.followed,
            all.not_judged
        )
    });
    // If nothing was judged, there is no share.
    let share = match score.judged {
        0 => String::new(),
        _ => format!(", {:.2} %", score.accuracy * 100.0),
    };
    output::line(format!(
        "{:9} {} of {} judged right{share}{not_judged}",
        score.kind.to_string(),
        score.right,
        score.judged,
    ))
}

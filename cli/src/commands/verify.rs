//! `ondol verify MODEL --delegate LIBRARY`.

use crate::engine::at_least_one;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::outfile::Outfile;
use crate::{model, output, text};
use ondol_conformance::report::{Gate, Level, Name, Report, Verdict};
use ondol_conformance::{Sample, Setup, html, samples, verify};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `ondol verify`.
#[derive(clap::Args)]
#[command(after_help = "\
Levels: abi, op, model, end-to-end, determinism, performance, energy, faults; docs/add-a-delegate.md
describes each. Answers are compared on texts in Korean and English. FOLDER gets report.json, and
report.html: one page in both languages to read, print and hand in.

Exit codes: 0 if every gate passes or is waived, 1 if one fails.

Examples:
  ondol verify smollm2 --delegate ./libsoftnpu.so
  ondol verify model.gguf --delegate ./libvendor.so --report evidence
  ondol verify hello --delegate ./libvendor.so --level abi,op --json
  ondol verify smollm2 --delegate ./libvendor.so --waive \"op.softcap=the part has no tanh\"")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    model: String,
    /// The plug-in: a library that implements ondol_npu.h
    #[arg(long, value_name = "LIBRARY")]
    delegate: PathBuf,
    /// Levels to run [default: all]
    #[arg(long, value_name = "LEVEL,..", value_delimiter = ',', value_parser = level)]
    level: Vec<Name>,
    /// A folder for report.json and report.html; it is created
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Another text to compare answers on, UTF-8, in addition to the two built-in ones;
    /// may be repeated
    #[arg(long, value_name = "FILE")]
    text: Vec<PathBuf>,
    /// Replace an existing report in FOLDER
    #[arg(long, requires = "report")]
    force: bool,
    /// The most tokens of each text
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    tokens: usize,
    /// The most rows of one call of the device
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    rows: usize,
    /// Deadline of one call, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = at_least_one)]
    deadline: usize,
    /// Threads of the CPU [default: one for each big core]
    #[arg(long, short = 't', value_name = "N", value_parser = at_least_one)]
    threads: Option<usize>,
    /// Let a gate fail, with a reason that the report shows; may be repeated
    #[arg(long, value_name = "GATE=REASON", value_parser = waiver)]
    waive: Vec<(String, String)>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// The levels by name, in the order in which they run.
const LEVELS: [(&str, Name); 8] = [
    ("abi", Name::Abi),
    ("op", Name::Op),
    ("model", Name::Model),
    ("end-to-end", Name::EndToEnd),
    ("determinism", Name::Determinism),
    ("performance", Name::Performance),
    ("energy", Name::Energy),
    ("faults", Name::Faults),
];

fn level(text: &str) -> Result<Name, String> {
    let known = LEVELS.iter().find(|(name, _)| *name == text);
    let names = LEVELS.map(|(name, _)| name).join(", ");
    known
        .map(|(_, level)| *level)
        .ok_or(format!("there are {names}"))
}

fn waiver(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((gate, reason)) if !reason.trim().is_empty() => {
            Ok((gate.to_owned(), reason.to_owned()))
        }
        _ => Err("a gate's id, `=`, and a reason are needed".to_owned()),
    }
}

/// Runs the levels, prints, and writes the report.
pub fn run(args: &Args) -> Result<()> {
    let plugin = &args.delegate;
    let plugin = plugin.canonicalize().map_err(Error::file("open", plugin))?;
    let model = model::open(&args.model)?;
    let model_files = model::paths(&args.model)?;
    let inputs = [&model_files, &args.text, std::slice::from_ref(&plugin)].concat();
    let files = match &args.report {
        Some(folder) => Some(report_files(folder, args.force, &inputs)?),
        None => None,
    };
    let scratch = Home::find()?
        .programs()
        .join(format!("verify-{}", std::process::id()));
    let setup = Setup {
        plugin: plugin.clone(),
        files: model_files,
        model_name: args.model.clone(),
        levels: levels(args),
        texts: texts(args)?,
        tokens: args.tokens,
        rows: args.rows,
        deadline: Duration::from_millis(args.deadline as u64),
        threads: args.threads,
        scratch: scratch.clone(),
        waivers: args.waive.clone(),
        command: std::env::args().collect(),
    };
    let report = verify(&setup, &model, |doing| note!("verifying: {doing}"));
    let _ = fs::remove_dir_all(&scratch);
    let report = report.map_err(|source| Error::Verify {
        path: plugin,
        source,
    })?;
    match args.json {
        true => output::json(&report)?,
        false => print(&report)?,
    }
    if let Some(files) = files {
        write(files, &report)?;
    }
    match report.passed {
        true => Ok(()),
        false => Err(Error::DoesNotConform),
    }
}

fn levels(args: &Args) -> Vec<Name> {
    let wanted = |level: &Name| args.level.is_empty() || args.level.contains(level);
    LEVELS
        .map(|(_, level)| level)
        .into_iter()
        .filter(wanted)
        .collect()
}

/// The two texts of the kit, and the user's.
fn texts(args: &Args) -> Result<Vec<Sample>> {
    let mut texts = samples();
    for path in &args.text {
        let text = text::read_file(path)?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        texts.push(Sample { name, text });
    }
    Ok(texts)
}

fn print(report: &Report) -> Result<()> {
    let device = &report.device;
    output::line(format!(
        "device   {} {} ({})",
        device.vendor, device.device, device.label
    ))?;
    match &report.offload {
        Some(offload) => output::line(format!(
            "offload  {:.1} % of the multiply-adds of prefill, {} parts, {} rows",
            offload.share * 100.0,
            offload.spans.len(),
            offload.rows
        ))?,
        None => output::line("offload  nothing")?,
    }
    for level in &report.levels {
        print_level(level)?;
    }
    let verdict = if report.passed { "passed" } else { "FAILED" };
    output::line(verdict)
}

fn print_level(level: &Level) -> Result<()> {
    let name = LEVELS.iter().find(|(_, name)| *name == level.name);
    output::line(format!(
        "\n{} ({:.1} s)",
        name.map_or("", |(name, _)| name),
        level.seconds
    ))?;
    level.gates.iter().try_for_each(print_gate)
}

fn print_gate(gate: &Gate) -> Result<()> {
    let verdict = match gate.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Waived => "waived",
        Verdict::NotMeasured => "-",
    };
    let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.3e}"));
    let sign = if gate.at_least { ">=" } else { "<=" };
    let limit = gate
        .limit
        .map_or(String::new(), |limit| format!("{sign} {limit:.1e}"));
    output::line(format!(
        "  {verdict:6}  {:10}  {limit:11}  {}  {}",
        number(gate.found),
        gate.id,
        gate.note
    ))
}

/// The files of a report, report.json and report.html.
fn report_files(folder: &Path, force: bool, inputs: &[PathBuf]) -> Result<[Outfile; 2]> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let file = |name| Outfile::create(&folder.join(name), force, inputs);
    Ok([file("report.json")?, file("report.html")?])
}

fn write(files: [Outfile; 2], report: &Report) -> Result<()> {
    let json = serde_json::to_string_pretty(report).map_err(|e| Error::Standard {
        stream: "output",
        source: e.into(),
    })?;
    for (mut file, text) in files.into_iter().zip([json, html::page(report)]) {
        let path = file.path().to_path_buf();
        file.write_all(text.as_bytes())
            .map_err(Error::file("write", &path))?;
        file.commit()?;
        note!("wrote {}", path.display());
    }
    Ok(())
}

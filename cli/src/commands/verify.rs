//! `ondol verify MODEL --delegate LIBRARY`.

use crate::delegate::PluginArgs;
use crate::engine::at_least_one;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::outfile::Outfile;
use crate::submission::SubmissionArgs;
use crate::{model, output, text};
use ondol_conformance::report::{
    Conclusion, Format, Gate, Level, Name, Report, TextLosses, Verdict,
};
use ondol_conformance::{Place, Sample, Setup, html, machine, samples, unknown_waivers, verify};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `ondol verify`.
#[derive(clap::Args)]
#[command(after_help = "\
Levels: abi, op, model, end-to-end, determinism, soak, performance, energy, faults;
docs/add-a-delegate.md describes each. Texts in Korean and English are computed in prefill and
decode. FOLDER gets report.json; report.html, one page in both languages to read, print and hand
in; the device's distributions, for `ondol agree`; a log; and the texts. `ondol report sign` signs
it.

Two verdicts are given. The device: passed, partial (hello, some of the levels, or a device that
does less than nine tenths of the work) or failed. The format: what the weights that the device
takes, and its arithmetic, lose against the file.

Exit codes: 0 if the device is not failed, 1 if a gate fails.

Examples:
  ondol verify smollm2 --delegate ./libsoftnpu.so
  ondol verify model.gguf --delegate ./libvendor.so --report evidence
  ondol verify hello --delegate ./libvendor.so --level abi,op --json
  ondol verify smollm2 --delegate ./libvendor.so --waive \"op.softcap.nmse=the part has no tanh\"")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    model: String,
    #[command(flatten)]
    plugin: PluginArgs,
    /// Levels to run [default: all]
    #[arg(long, value_name = "LEVEL,..", value_delimiter = ',', value_parser = level)]
    level: Vec<Name>,
    /// A folder for the report: report.json, report.html, records.jsonl for `ondol
    /// agree`, and the texts; it is created
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
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    rows: usize,
    /// The number from which inputs, shapes and numbers of rows are drawn; the report
    /// has it [default: drawn]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Calls of each of two programs in the level soak
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least_one)]
    soak: usize,
    /// Deadline of one call, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = at_least_one)]
    deadline: usize,
    /// Threads of the CPU [default: one for each big core]
    #[arg(long, short = 't', value_name = "N", value_parser = at_least_one)]
    threads: Option<usize>,
    /// Run the plug-in in this process; by default it runs in one of its own (Linux)
    #[arg(long)]
    in_process: bool,
    /// The log of an outside meter that runs meanwhile, for the level energy: CSV with
    /// columns `time` (seconds since 1970, or as in 2026-11-30T12:00:00+09:00) and `watts`
    #[arg(long, value_name = "FILE")]
    meter: Option<PathBuf>,
    #[command(flatten)]
    submission: SubmissionArgs,
    /// Let the gate with this id fail, with a reason that the report shows; may be repeated
    #[arg(long, value_name = "GATE=REASON", value_parser = waiver)]
    waive: Vec<(String, String)>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

fn level(text: &str) -> Result<Name, String> {
    let known = Name::ALL
        .into_iter()
        .find(|level| level.to_string() == text);
    known.ok_or_else(|| {
        format!(
            "there are {}",
            Name::ALL.map(|level| level.to_string()).join(", ")
        )
    })
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
    let plugin = &args.plugin.library;
    let plugin = plugin.canonicalize().map_err(Error::file("open", plugin))?;
    let model = model::open(&args.model)?;
    let model_files = model::paths(&args.model)?;
    let meter = args.meter.as_slice();
    let inputs = [
        &model_files,
        &args.text,
        std::slice::from_ref(&plugin),
        meter,
    ]
    .concat();
    let texts = texts(args)?;
    let files = match &args.report {
        Some(folder) => Some(report_files(folder, args.force, &inputs, &texts)?),
        None => None,
    };
    let scratch = Home::find()?
        .programs()
        .join(format!("verify-{}", std::process::id()));
    let seed = args.seed.unwrap_or_else(drawn);
    let setup = Setup {
        place: place(args, &plugin, seed)?,
        plugin: plugin.clone(),
        device: args.plugin.device,
        files: model_files,
        model_name: args.model.clone(),
        levels: levels(args),
        texts: texts.clone(),
        tokens: args.tokens,
        rows: args.rows,
        seed,
        soak: args.soak,
        deadline: Duration::from_millis(args.deadline as u64),
        threads: args.threads,
        scratch: scratch.clone(),
        meter: args.meter.clone(),
        submission: args.submission.stated(),
        waivers: args.waive.clone(),
        command: std::env::args().collect(),
    };
    let mut log = String::new();
    let report = verify(&setup, &model, |doing| {
        note!("verifying: {doing}");
        log += &format!("{} {doing}\n", machine::now_in_korea());
    });
    let _ = fs::remove_dir_all(&scratch);
    let report = report.map_err(|source| Error::Verify {
        path: plugin,
        source,
    })?;
    match args.json {
        true => output::json(&report)?,
        false => print(&report)?,
    }
    for id in unknown_waivers(&report, &args.waive) {
        note!("--waive {id}: no gate has this id; each gate is waived by its whole id");
    }
    if let Some(files) = files {
        write(files, &report, log, &texts)?;
    }
    match report.conclusion {
        Conclusion::Fail => Err(Error::DoesNotConform),
        Conclusion::Pass | Conclusion::Partial => Ok(()),
    }
}

/// Where the plug-in runs: in processes of its own, where the system can.
fn place(args: &Args, plugin: &Path, seed: u64) -> Result<Place> {
    if args.in_process || !cfg!(target_os = "linux") {
        return Ok(Place::Here);
    }
    let program = std::env::current_exe().map_err(Error::file("find", Path::new("ondol")))?;
    let words = |arguments: &[&OsStr]| {
        let arguments = arguments.iter().map(OsString::from);
        [OsString::from(&program)]
            .into_iter()
            .chain(arguments)
            .collect()
    };
    let (device, seed, rows, soak) = (
        args.plugin.device.to_string(),
        seed.to_string(),
        args.rows.to_string(),
        args.soak.to_string(),
    );
    let verifier = [
        "verify".as_ref(),
        args.model.as_ref(),
        "--delegate".as_ref(),
        plugin.as_os_str(),
        "--delegate-device".as_ref(),
        device.as_ref(),
        "--in-process".as_ref(),
        "--json".as_ref(),
        "--seed".as_ref(),
        seed.as_ref(),
        "--rows".as_ref(),
        rows.as_ref(),
        "--soak".as_ref(),
        soak.as_ref(),
        "--level".as_ref(),
    ];
    Ok(Place::Apart {
        helper: words(&["delegate-host".as_ref()]),
        verifier: words(&verifier),
    })
}

/// A seed that no device can foresee.
fn drawn() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

fn levels(args: &Args) -> Vec<Name> {
    let wanted = |level: &Name| args.level.is_empty() || args.level.contains(level);
    Name::ALL.into_iter().filter(wanted).collect()
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
            "offload  {:.1} % of prefill's matmuls, {:.1} % of decode's, {} parts, {} rows",
            offload.work.prefill * 100.0,
            offload.work.decode * 100.0,
            offload.spans.len(),
            offload.rows
        ))?,
        None => output::line("offload  nothing")?,
    }
    output::line(format!("seed     {}", report.seed))?;
    for level in &report.levels {
        print_level(level)?;
    }
    output::line(format!("\ndevice   {}", conclusion(report)))?;
    output::line(format!("format   {}", format(report.format.as_ref())))
}

/// The verdict on the device, with what is missing.
fn conclusion(report: &Report) -> String {
    let missing: Vec<&str> = report.partial.iter().map(|text| text.en.as_str()).collect();
    match report.conclusion {
        Conclusion::Pass => "passed".to_owned(),
        Conclusion::Partial => format!("partial: {}", missing.join("; ")),
        Conclusion::Fail => "FAILED".to_owned(),
    }
}

/// What the format loses, in the worst of the texts.
fn format(format: Option<&Format>) -> String {
    let Some(format) = format else {
        return "not measured".to_owned();
    };
    let worst = |of: fn(&TextLosses) -> f64| format.texts.iter().map(of).fold(0.0, f64::max);
    let limits = if format.passed { "within" } else { "BEYOND" };
    format!(
        "mean KL {:.1e} from the file (weights alone {:.1e}), {limits} the limits",
        worst(|text| text.all.mean_kl),
        worst(|text| text.weights.mean_kl),
    )
}

fn print_level(level: &Level) -> Result<()> {
    output::line(format!("\n{} ({:.1} s)", level.name, level.seconds))?;
    level.gates.iter().try_for_each(print_gate)
}

fn print_gate(gate: &Gate) -> Result<()> {
    let verdict = match gate.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Waived => "waived",
        Verdict::Partial => "part",
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

/// The files of a report that are made from its results.
const FILES: [&str; 4] = ["report.json", "report.html", "records.jsonl", "log.txt"];

/// Opens the files of a report: [`FILES`], and the texts.
fn report_files(
    folder: &Path,
    force: bool,
    inputs: &[PathBuf],
    texts: &[Sample],
) -> Result<Vec<Outfile>> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let texts = texts.iter().map(|text| format!("text-{}.txt", text.name));
    let names = FILES.into_iter().map(str::to_owned).chain(texts);
    names
        .map(|name| Outfile::create(&folder.join(name), force, inputs))
        .collect()
}

/// Writes what somebody else needs to judge the run and to repeat it.
fn write(files: Vec<Outfile>, report: &Report, log: String, texts: &[Sample]) -> Result<()> {
    let json = serde_json::to_string_pretty(report).map_err(|e| Error::Standard {
        stream: "output",
        source: e.into(),
    })?;
    let records = report.records.iter();
    let records = records.map(|record| format!("{}\n", serde_json::json!(record)));
    let made = [json, html::page(report), records.collect(), log];
    let all = made.iter().chain(texts.iter().map(|text| &text.text));
    for (mut file, text) in files.into_iter().zip(all) {
        let path = file.path().to_path_buf();
        file.write_all(text.as_bytes())
            .map_err(Error::file("write", &path))?;
        file.commit()?;
        note!("wrote {}", path.display());
    }
    Ok(())
}

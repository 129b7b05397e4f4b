//! `ondol bench MODEL --delegate LIBRARY --auto`.

use super::{Args, Machine, ModelInfo, describe, machine, thread_counts};
use crate::delegate::{compile, in_words};
use crate::error::{Error, Result};
use crate::model::{self, runtime_error};
use crate::output;
use crate::progress::Progress;
use ondol::delegate::{Delegate, DeviceInfo, Label, Offload, OffloadOptions};
use ondol::trial::{Comparison, Pair, Split, SplitFile, Work};
use ondol::{CancelToken, Model, SessionOptions};
use ondol_conformance::scattered;
use serde::Serialize;

/// Everything measured, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    model: ModelInfo,
    machine: Machine,
    threads: usize,
    device: Device,
    stages: Vec<Stage>,
    /// The faster split, which was kept.
    split: Split,
    /// Whether a stage is slower on the device than on the CPU.
    slower_than_cpu: bool,
}

#[derive(Serialize)]
struct Device {
    name: String,
    driver: String,
    /// The times are those of hardware only if this is "hardware".
    label: String,
}

#[derive(Serialize)]
struct Stage {
    stage: &'static str,
    tokens: usize,
    /// Median time of all tokens; `null` if the stage can't run on the device.
    cpu_ms: Option<f64>,
    device_ms: Option<f64>,
    /// [`Pair::speedup`]: above 1 the device is faster.
    speedup: Option<f64>,
    slower_than_cpu: bool,
    /// "device" or "cpu".
    runs_on: &'static str,
    /// Why it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// Measures, prints, and keeps the faster split.
pub fn run(args: &Args) -> Result<()> {
    let [prompt, decoded] = [&args.prompt, &args.generate].map(|lengths| only(lengths));
    let (Some(prompt), Some(decoded), 0..=1) = (prompt, decoded, args.threads.len()) else {
        return Err(Error::Usage(
            "--auto needs one length of prefill and one of decode above 0, and at most one number of threads"
                .to_owned(),
        ));
    };
    let Some(delegate) = args.delegate.device()? else {
        return Err(Error::Usage("--auto needs --delegate".to_owned()));
    };
    let model = model::open_packed(&args.model, &args.limit)?;
    let session = SessionOptions {
        threads: thread_counts(args).into_iter().next().flatten(),
        kernels: args.kernels,
        context: Some(prompt.max(decoded)),
        kv_type: args.kv_type,
        ..SessionOptions::default()
    };
    let offload = offload(args, &model, &delegate)?;
    let tokens = scattered(prompt.max(decoded), model.graph().vocabulary);
    let work = Work {
        prompt: &tokens[..prompt],
        decoded: &tokens[..decoded],
        rounds: args.repeat,
    };
    let comparison = measure(&offload, &session, &work).map_err(runtime_error(&args.model))?;
    let split = comparison.split();
    keep(args, &model, &delegate, &session, split)?;
    let stages = stages(&comparison, &work);
    print(
        args,
        &Report {
            model: describe(args, &model),
            machine: machine(comparison.isa.to_string()),
            threads: comparison.threads,
            device: Device::of(delegate.info()),
            slower_than_cpu: stages.iter().any(|stage| stage.slower_than_cpu),
            stages,
            split,
        },
    )
}

/// The one length above 0 of a list.
fn only(lengths: &[usize]) -> Option<usize> {
    match lengths {
        &[length] if length > 0 => Some(length),
        _ => None,
    }
}

/// Offloads every stage that the device has programs for. A failure of the device is an
/// error: otherwise the CPU would take over, and its time would count as the device's.
fn offload(args: &Args, model: &Model, delegate: &Delegate) -> Result<Offload> {
    let all = Split {
        prefill: true,
        decode: delegate.info().rows[0] == 1,
    };
    let options = OffloadOptions {
        strict: true,
        ..args.delegate.options(all)?
    };
    compile(model, &args.model, delegate, &options)
}

/// Measures, with a progress bar.
fn measure(
    offload: &Offload,
    session: &SessionOptions,
    work: &Work<'_>,
) -> ondol::Result<Comparison> {
    let mut progress = None;
    let show = |_, rounds: usize| {
        let bar = progress.get_or_insert_with(|| Progress::pieces("measuring", rounds as u64));
        bar.add(1);
    };
    let comparison = Comparison::measure(offload, session, work, &CancelToken::new(), show);
    progress.iter().for_each(Progress::finish);
    comparison
}

/// Keeps the split where [`crate::delegate::DelegateArgs::fastest`] looks for it.
fn keep(
    args: &Args,
    model: &Model,
    delegate: &Delegate,
    session: &SessionOptions,
    split: Split,
) -> Result<()> {
    let options = args.delegate.options(split)?;
    let kept = SplitFile::find(model, delegate, &options, session)
        .and_then(|file| file.map_or(Ok(()), |file| file.write(split)));
    kept.map_err(runtime_error(&args.model))
}

impl Device {
    fn of(info: &DeviceInfo) -> Device {
        Device {
            name: format!("{} {}", info.vendor, info.device),
            driver: info.driver.clone(),
            label: info.label.to_string(),
        }
    }
}

fn stages(comparison: &Comparison, work: &Work<'_>) -> Vec<Stage> {
    const NO_OPERATION: &str = "the contract has no operation for it";
    const NO_PROGRAM: &str = "the device has no programs of one row";
    let (prompt, decoded) = (work.prompt.len(), work.decoded.len());
    vec![
        Stage::new("prefill", prompt, comparison.prefill, NO_OPERATION),
        Stage::new("decode", decoded, comparison.decode, NO_PROGRAM),
        Stage::new("attention", prompt, None, NO_OPERATION),
        Stage::new("head", 1, None, NO_OPERATION),
    ]
}

impl Stage {
    /// A stage with its times, or else the reason why it has none.
    fn new(stage: &'static str, tokens: usize, pair: Option<Pair>, reason: &'static str) -> Stage {
        let speedup = pair.map(|pair| pair.speedup);
        let is_faster = pair.is_some_and(|pair| pair.device_is_faster());
        Stage {
            stage,
            tokens,
            cpu_ms: pair.map(|pair| pair.cpu.as_secs_f64() * 1e3),
            device_ms: pair.map(|pair| pair.device.as_secs_f64() * 1e3),
            speedup,
            slower_than_cpu: speedup.is_some_and(|speedup| speedup < 1.0),
            runs_on: if is_faster { "device" } else { "cpu" },
            reason: pair.is_none().then_some(reason),
        }
    }
}

fn print(args: &Args, report: &Report) -> Result<()> {
    if args.json {
        return output::json(report);
    }
    let Report {
        model,
        machine,
        device,
        ..
    } = report;
    output::line(format!("{} ({})", model.name, model.path))?;
    output::line(format!(
        "{}, {} kernels, {} threads",
        machine.cpu, machine.kernels, report.threads
    ))?;
    output::line(format!(
        "{} ({}){}",
        device.name,
        device.label,
        caution(device)
    ))?;
    output::line("\nstage      tokens    CPU ms  device ms  speed    runs on")?;
    report.stages.iter().try_for_each(print_stage)?;
    output::line(format!("\nkept: {}", in_words(report.split)))
}

/// A warning if the device is not hardware.
fn caution(device: &Device) -> &'static str {
    match device.label == Label::Hardware.to_string() {
        true => "",
        false => ": simulated, its times say nothing about hardware",
    }
}

fn print_stage(stage: &Stage) -> Result<()> {
    let Stage {
        stage: name,
        tokens,
        runs_on,
        ..
    } = stage;
    let (Some(cpu), Some(device), Some(speedup)) = (stage.cpu_ms, stage.device_ms, stage.speedup)
    else {
        let reason = stage.reason.unwrap_or_default();
        return output::line(format!(
            "{name:9}                                        {runs_on}: {reason}"
        ));
    };
    let line = format!("{name:9}  {tokens:6}  {cpu:8.2}   {device:8.2}  {speedup:5.2}x  {runs_on}");
    match stage.slower_than_cpu {
        true => output::alarm(format!("{line}: the device is slower than the CPU")),
        false => output::line(line),
    }
}

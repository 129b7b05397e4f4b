//! `--delegate`: parts of the model on an NPU, through a plug-in.

use crate::engine::at_least_one;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::model::runtime_error;
use crate::progress::Progress;
use clap::Args;
use ondol::delegate::{Delegate, Offload, OffloadOptions};
use ondol::trial::{Split, SplitFile};
use ondol::{CancelToken, Model, Session, SessionOptions};
use serde::Serialize;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The delegate and its options.
#[derive(Args, Clone, Debug)]
pub struct DelegateArgs {
    /// A plug-in (a library that implements ondol_npu.h) whose device runs parts of the
    /// model in prefill; the CPU runs the rest
    #[arg(long, value_name = "LIBRARY")]
    pub delegate: Option<PathBuf>,
    /// Which of the plug-in's devices, from 0
    #[arg(long, requires = "delegate", value_name = "N", default_value_t = 0)]
    delegate_device: u32,
    /// Stages that run on the device: prefill, decode [default: prefill; for `run` those that
    /// `ondol bench --auto` found faster than on the CPU, if it was run]
    #[arg(
        long,
        requires = "delegate",
        value_name = "STAGE,..",
        value_delimiter = ','
    )]
    pub delegate_stages: Vec<Stage>,
    /// The most rows of one call of the device in prefill; a shorter prompt is padded
    #[arg(long, requires = "delegate", value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    delegate_rows: usize,
    /// Fail if the device fails, instead of continuing on the CPU
    #[arg(long, requires = "delegate")]
    delegate_strict: bool,
    /// Deadline of one call of the device, in milliseconds
    #[arg(long, requires = "delegate", value_name = "MS", default_value_t = 5000, value_parser = at_least_one)]
    delegate_deadline: usize,
    /// Take all programs from this file, which `ondol compile` wrote for this model and part
    #[arg(long, requires = "delegate", value_name = "BUNDLE")]
    delegate_bundle: Option<PathBuf>,
    /// Run the plug-in in a process of its own, so that its crash ends neither this process
    /// nor the answer
    #[arg(long, requires = "delegate")]
    isolated: bool,
}

/// The plug-in of a command that is about one.
#[derive(Args, Clone, Debug)]
pub struct PluginArgs {
    /// The plug-in: a library that implements ondol_npu.h
    #[arg(long = "delegate", value_name = "LIBRARY")]
    pub library: PathBuf,
    /// Which of the plug-in's devices, from 0
    #[arg(long = "delegate-device", value_name = "N", default_value_t = 0)]
    pub device: u32,
}

/// A stage that can run on a device.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub enum Stage {
    Prefill,
    Decode,
}

impl DelegateArgs {
    /// The offload of `model`, which the user named `name`, with the stages that the
    /// arguments ask for; `None` without a delegate.
    pub fn offload(&self, model: &Model, name: &str) -> Result<Option<Offload>> {
        let Some(delegate) = self.device()? else {
            return Ok(None);
        };
        let options = self.options(self.stages())?;
        compile(model, name, &delegate, &options).map(Some)
    }

    /// As [`DelegateArgs::offload`], but where the arguments name no stages, those that
    /// `ondol bench --auto` found faster on the device in sessions like `session`;
    /// `None` also if there are none.
    pub fn fastest(
        &self,
        model: &Model,
        name: &str,
        session: &SessionOptions,
    ) -> Result<Option<Offload>> {
        let Some(delegate) = self.device()? else {
            return Ok(None);
        };
        let mut options = self.options(self.stages())?;
        if self.delegate_stages.is_empty()
            && let Some(split) = kept(model, name, &delegate, &options, session)?
        {
            note!(
                "delegate: {}, as `ondol bench --auto` found",
                in_words(split)
            );
            (options.prefill, options.decode) = (split.prefill, split.decode);
        }
        if !options.prefill && !options.decode {
            return Ok(None);
        }
        compile(model, name, &delegate, &options).map(Some)
    }

    /// The device; `None` without a delegate.
    pub fn device(&self) -> Result<Option<Delegate>> {
        let open = if self.isolated { isolate } else { load };
        let plugin = self.delegate.as_deref();
        plugin
            .map(|path| open(path, self.delegate_device))
            .transpose()
    }

    /// Where programs are: the bundle, or the folder of Ondol's own.
    fn programs(&self) -> Result<PathBuf> {
        match &self.delegate_bundle {
            // What is no file would be taken for a folder.
            Some(bundle) if !bundle.is_file() => {
                let source = fs::metadata(bundle).err();
                let source = source.unwrap_or_else(|| ErrorKind::InvalidInput.into());
                Err(Error::file("open", bundle)(source))
            }
            Some(bundle) => Ok(bundle.clone()),
            None => Ok(Home::find()?.programs()),
        }
    }

    /// The stages that the arguments ask for.
    fn stages(&self) -> Split {
        let asked = &self.delegate_stages;
        Split {
            prefill: asked.is_empty() || asked.contains(&Stage::Prefill),
            decode: asked.contains(&Stage::Decode),
        }
    }

    /// The runtime's options for these stages.
    pub fn options(&self, stages: Split) -> Result<OffloadOptions> {
        Ok(OffloadOptions {
            rows: self.delegate_rows,
            prefill: stages.prefill,
            decode: stages.decode,
            strict: self.delegate_strict,
            deadline: Duration::from_millis(self.delegate_deadline as u64),
            cache: Some(self.programs()?),
        })
    }
}

/// The split that was kept for these options, if it can be read.
fn kept(
    model: &Model,
    name: &str,
    delegate: &Delegate,
    options: &OffloadOptions,
    session: &SessionOptions,
) -> Result<Option<Split>> {
    let file = SplitFile::find(model, delegate, options, session).map_err(runtime_error(name))?;
    let read = file.map_or(Ok(None), |file| file.read());
    Ok(read.unwrap_or_else(|damaged| {
        note!("warning: {damaged}; `ondol bench --auto` measures again");
        None
    }))
}

/// Where the stages of a split run.
pub fn in_words(split: Split) -> &'static str {
    match (split.prefill, split.decode) {
        (true, true) => "prefill and decode on the device",
        (true, false) => "prefill on the device, decode on the CPU",
        (false, true) => "decode on the device, prefill on the CPU",
        (false, false) => "prefill and decode on the CPU",
    }
}

/// Loads a plug-in and opens one of its devices.
#[allow(unsafe_code)] // Loading a library runs its code.
pub fn load(path: &Path, device: u32) -> Result<Delegate> {
    // A name without a folder would be searched for where the system's libraries lie.
    let path = path.canonicalize().map_err(Error::file("open", path))?;
    // SAFETY: the user trusts the library, as any program that is run by name.
    let delegate = unsafe { Delegate::load_device(&path, device) };
    delegate.map_err(|source| Error::Delegate { path, source })
}

/// Loads a plug-in in a process of its own, and opens one of its devices.
pub fn isolate(path: &Path, device: u32) -> Result<Delegate> {
    let path = path.canonicalize().map_err(Error::file("open", path))?;
    let delegate = ondol_delegate_isolated::open_device(&path, device, helper()?);
    delegate.map_err(|source| Error::Delegate { path, source })
}

/// This program, to serve a plug-in.
fn helper() -> Result<Command> {
    let program = std::env::current_exe().map_err(Error::file("find", Path::new("ondol")))?;
    let mut helper = Command::new(program);
    helper.arg("delegate-host");
    Ok(helper)
}

/// Serves a plug-in to the process that called [`isolate`].
pub fn serve() -> Result<()> {
    Err(Error::Standard {
        stream: "input",
        source: ondol_delegate_isolated::serve(),
    })
}

/// Compiles the parts of a model that the delegate claims, with a progress bar.
pub fn compile(
    model: &Model,
    name: &str,
    delegate: &Delegate,
    options: &OffloadOptions,
) -> Result<Offload> {
    let (mut progress, mut before) = (None, 0);
    let show = |done: usize, total: usize| {
        let bar = progress.get_or_insert_with(|| Progress::pieces("compiling", total as u64));
        bar.add((done - before) as u64);
        before = done;
    };
    let offload = Offload::new(model, delegate, options, &CancelToken::new(), show);
    progress.iter().for_each(Progress::finish);
    offload.map_err(runtime_error(name))
}

/// Counts of a delegate, as `--json` prints them.
#[derive(Debug, Clone, Serialize)]
pub struct DelegateFigures {
    device: String,
    /// The times are those of hardware only if this is "hardware".
    label: String,
    spans_on_device: u64,
    spans_on_cpu: u64,
    failures: u64,
    audits: u64,
    seconds: f64,
    given_up: bool,
    last_failure: Option<String>,
}

impl DelegateFigures {
    /// The counts of a session, if it has a delegate.
    pub fn of(session: &Session) -> Option<DelegateFigures> {
        let (info, stats) = (
            session.engine().offload()?.delegate().info(),
            session.engine().offload_stats()?,
        );
        Some(DelegateFigures {
            device: format!("{} {}", info.vendor, info.device),
            label: info.label.to_string(),
            spans_on_device: stats.on_device(),
            spans_on_cpu: stats.on_cpu(),
            failures: stats.failures,
            audits: stats.audits,
            seconds: stats.time.as_secs_f64(),
            given_up: stats.given_up,
            last_failure: stats.last_failure.as_ref().map(ToString::to_string),
        })
    }

    /// A line for standard error, since it is not part of the answer.
    pub fn say(&self) {
        let DelegateFigures {
            device,
            label,
            spans_on_device,
            spans_on_cpu,
            ..
        } = self;
        note!(
            "delegate {device} ({label}): {spans_on_device} spans on the device, {spans_on_cpu} on the CPU"
        );
        if let Some(failure) = &self.last_failure {
            let end = if self.given_up {
                "; it was given up"
            } else {
                ""
            };
            note!(
                "delegate failed {} times, last {failure}{end}",
                self.failures
            );
        }
    }
}

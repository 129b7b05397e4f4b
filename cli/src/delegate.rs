//! `--delegate`: parts of the model on an NPU, through a plug-in.

use crate::engine::at_least_one;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::model::runtime_error;
use crate::progress::Progress;
use clap::Args;
use ondol::delegate::{Delegate, Offload, OffloadOptions};
use ondol::{CancelToken, Model, Session};
use serde::Serialize;
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
    /// Use the device in decode too
    #[arg(long, requires = "delegate")]
    delegate_decode: bool,
    /// The most rows of one call of the device in prefill; a shorter prompt is padded
    #[arg(long, requires = "delegate", value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    delegate_rows: usize,
    /// Fail if the device fails, instead of continuing on the CPU
    #[arg(long, requires = "delegate")]
    delegate_strict: bool,
    /// Deadline of one call of the device, in milliseconds
    #[arg(long, requires = "delegate", value_name = "MS", default_value_t = 5000, value_parser = at_least_one)]
    delegate_deadline: usize,
    /// Run the plug-in in a process of its own, so that its crash ends neither this process
    /// nor the answer
    #[arg(long, requires = "delegate")]
    isolated: bool,
}

impl DelegateArgs {
    /// The offload of `model`, which the user named `name`; `None` without a delegate.
    pub fn offload(&self, model: &Model, name: &str) -> Result<Option<Offload>> {
        let Some(path) = &self.delegate else {
            return Ok(None);
        };
        let delegate = match self.isolated {
            true => isolate(path)?,
            false => load(path)?,
        };
        let options = OffloadOptions {
            rows: self.delegate_rows,
            decode: self.delegate_decode,
            strict: self.delegate_strict,
            deadline: Duration::from_millis(self.delegate_deadline as u64),
            cache: Some(Home::find()?.programs()),
        };
        compile(model, name, &delegate, &options).map(Some)
    }
}

/// Loads a plug-in and opens its first device.
#[allow(unsafe_code)] // A library's code.
pub fn load(path: &Path) -> Result<Delegate> {
    // A name without a folder would be searched for where the system's libraries lie.
    let path = path.canonicalize().map_err(Error::file("open", path))?;
    // SAFETY: the user trusts the library, as any program that is run by name.
    let delegate = unsafe { Delegate::load(&path) };
    delegate.map_err(|source| Error::Delegate { path, source })
}

/// Loads a plug-in in a process of its own, and opens its first device.
pub fn isolate(path: &Path) -> Result<Delegate> {
    let path = path.canonicalize().map_err(Error::file("open", path))?;
    let delegate = ondol_delegate_isolated::open(&path, helper()?);
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
    let mut progress = None;
    let show = |done: usize, total: usize| {
        let bar = progress.get_or_insert_with(|| Progress::pieces("compiling", total as u64));
        bar.add(u64::from(done > 0));
    };
    let offload = Offload::new(model, delegate, options, &CancelToken::new(), show);
    progress.iter().for_each(Progress::finish);
    offload.map_err(runtime_error(name))
}

/// Counts of a delegate, as `--json` prints them.
#[derive(Debug, Clone, Serialize)]
pub struct DelegateFigures {
    device: String,
    /// Times mean something only for "hardware".
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

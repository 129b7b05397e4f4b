//! Runs spans on the device for one engine, and reports which of them the CPU must run.
//!
//! The engine's arena is not written before a span's results are complete and finite.
//! So whatever the device does, the CPU can still compute the span.

use super::error::{Code, DelegateError, Stage};
use super::offload::{Compiled, Offload};
use super::session::{Buffer, DeviceSession, Job, Metrics, Outcome, Place};
use crate::{CancelToken, Error, Result};
use core::hash::{BuildHasher, Hash, Hasher};
use core::ops::Range;
use core::time::Duration;
use std::format;
use std::hash::{DefaultHasher, RandomState};
use std::time::Instant;
use std::vec::Vec;

/// How often a wait checks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(10);

/// How long to wait for a cancelled job to end.
const GRACE: Duration = Duration::from_millis(200);

/// Consecutive failures after which the device is no longer used.
const MAX_FAILURES: u32 = 16;

/// Resets of the device after which a further loss ends its use.
const MAX_RESETS: u64 = 3;

/// Timeouts after which the device is no longer used.
const MAX_LATE: u32 = 3;

/// One call of a program in this many is audited, beginning with the first.
const AUDITED: u64 = 16;

/// Counts and measurements of an engine's delegate since the engine was made.
#[derive(Debug, Clone, Default)]
pub struct OffloadStats {
    /// The claimed spans that ran in prefill; nothing if no prefill programs were
    /// compiled.
    pub prefill: StageStats,
    /// The claimed spans that ran in decode; nothing if no decode programs were
    /// compiled.
    pub decode: StageStats,
    /// Failures of the device.
    pub failures: u64,
    /// Resets of the device that this engine asked for and that succeeded.
    pub resets: u64,
    /// Rows that the CPU also computed to check the device.
    pub audits: u64,
    /// The largest difference that an audit found in one output of a span: squared
    /// distance over the squared length of the row, or of a typical row of the call if
    /// that is longer.
    pub worst_audit: f64,
    /// Wall time of the calls whose outputs were complete and finite.
    pub time: Duration,
    /// Energy that the device measured, in microjoules; `None` if it measures none.
    pub energy_uj: Option<u64>,
    /// The highest temperature that the device reported, in thousandths of a degree
    /// Celsius.
    pub temperature_mc: Option<i32>,
    /// The device's last failure.
    pub last_failure: Option<DelegateError>,
    /// Whether the device is no longer used.
    pub given_up: bool,
}

/// The claimed spans that ran in one stage, by place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageStats {
    /// On the device.
    pub on_device: SpanCount,
    /// On the CPU, because the device failed or is no longer used.
    pub on_cpu: SpanCount,
}

/// A number of spans, and their work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanCount {
    /// Number of spans, counted again in each pass.
    pub spans: u64,
    /// Multiply-adds of their matmuls, for the rows of the passes without padding.
    pub multiply_adds: u64,
}

impl OffloadStats {
    /// Number of spans that ran on the device, in prefill and decode.
    pub fn on_device(&self) -> u64 {
        self.prefill.on_device.spans + self.decode.on_device.spans
    }

    /// Number of claimed spans that ran on the CPU, in prefill and decode.
    pub fn on_cpu(&self) -> u64 {
        self.prefill.on_cpu.spans + self.decode.on_cpu.spans
    }
}

/// The prefill programs or the decode programs of an offload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramSet {
    Prefill,
    Decode,
}

/// A session on the device, with the memory that host and device share.
struct DeviceBuffers {
    // First, so that it is dropped first: after it nothing uses the buffers.
    session: DeviceSession,
    inputs: Buffer,
    outputs: Buffer,
}

/// Runs spans for one engine.
pub(crate) struct Runner {
    pub offload: Offload,
    buffers: Option<DeviceBuffers>,
    /// A job that did not end in time, with the session and the buffers that it may
    /// still use.
    late: Option<(DeviceBuffers, Job)>,
    late_calls: u32,
    failures_in_a_row: u32,
    /// Largest number of rows of a pass for which the buffers have room.
    capacity: usize,
    /// Number of calls so far, by program.
    calls: Vec<u64>,
    /// Decides which rows are audited. Random, so that no device can foretell them.
    pub(super) seed: u64,
    pub stats: OffloadStats,
}

/// One call of a span: the rows of a pass and their places in the buffers.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub span: usize,
    phase: ProgramSet,
    pub rows: usize,
    /// Rows, padded to a multiple of the program's.
    padded: usize,
}

impl Compiled {
    fn has_programs(&self, phase: ProgramSet) -> bool {
        match phase {
            ProgramSet::Prefill => self.options.prefill,
            ProgramSet::Decode => self.options.decode,
        }
    }

    fn program_rows(&self, phase: ProgramSet) -> usize {
        match phase {
            ProgramSet::Prefill => self.rows,
            ProgramSet::Decode => 1,
        }
    }

    /// The index of a span's program among those of a session: first all for prefill,
    /// then all for decode.
    fn program(&self, span: usize, phase: ProgramSet) -> usize {
        match phase {
            ProgramSet::Prefill => span,
            ProgramSet::Decode => self.prefill.len() + span,
        }
    }

    /// Floats of the input buffer and of the output buffer for passes of up to `rows`
    /// rows.
    fn staging(&self, rows: usize) -> [usize; 2] {
        let padded = rows.next_multiple_of(self.rows);
        [0, 1].map(|side| {
            let widths = self.interfaces.iter().map(|interface| {
                let values = interface[side].iter();
                values.map(|&(_, width)| width).sum::<usize>()
            });
            widths.max().unwrap_or(0).saturating_mul(padded)
        })
    }

    /// Bytes of both buffers for passes of up to `rows` rows.
    pub fn session_bytes(&self, rows: usize) -> u64 {
        self.staging(rows)
            .iter()
            .map(|&floats| floats as u64 * 4)
            .sum()
    }
}

impl Runner {
    /// Makes a session on the device. If the device refuses it, the CPU runs
    /// everything.
    ///
    /// # Errors
    /// [`Error::Delegate`] if the device refuses the session and `strict` is on.
    pub fn new(offload: &Offload, rows: usize) -> Result<Runner> {
        let compiled = &offload.0;
        let buffers = || -> Result<DeviceBuffers, DelegateError> {
            let programs = compiled.prefill.iter().chain(&compiled.decode).cloned();
            let [inputs, outputs] = compiled.staging(rows);
            Ok(DeviceBuffers {
                inputs: Buffer::new(&compiled.delegate, inputs)?,
                outputs: Buffer::new(&compiled.delegate, outputs)?,
                session: DeviceSession::new(programs.collect())?,
            })
        };
        let mut runner = Runner {
            buffers: None,
            late: None,
            late_calls: 0,
            failures_in_a_row: 0,
            capacity: rows,
            calls: std::vec![0; compiled.prefill.len() + compiled.decode.len()],
            seed: RandomState::new().hash_one(0),
            stats: OffloadStats::default(),
            offload: offload.clone(),
        };
        match buffers() {
            Ok(buffers) => runner.buffers = Some(buffers),
            Err(error) => runner.failed(error, true)?,
        }
        Ok(runner)
    }

    fn compiled(&self) -> &Compiled {
        &self.offload.0
    }

    /// Prepares a call of a span for `rows` rows. Returns `None` if the CPU must run
    /// it.
    ///
    /// # Errors
    /// [`Error::Delegate`] if the device is not available and `strict` is on.
    pub fn begin(&mut self, span: usize, phase: ProgramSet, rows: usize) -> Result<Option<Call>> {
        if !self.compiled().has_programs(phase) || rows > self.capacity {
            return Ok(None);
        }
        self.reap_timed_out();
        if self.buffers.is_none() {
            self.cpu_may_run()?;
        }
        let padded = rows.next_multiple_of(self.compiled().program_rows(phase));
        let call = Call {
            span,
            phase,
            rows,
            padded,
        };
        if self.buffers.is_none() {
            self.ran(call, false);
            return Ok(None);
        }
        Ok(Some(call))
    }

    /// Allows the CPU to run a span, or returns the device's last failure if `strict`
    /// is on.
    fn cpu_may_run(&self) -> Result<()> {
        if !self.compiled().options.strict {
            return Ok(());
        }
        let error = match &self.stats.last_failure {
            Some(error) if self.late.is_none() => error.clone(),
            _ => late("an earlier job still runs"),
        };
        Err(Error::Delegate(error))
    }

    /// A row of an input, to write.
    pub fn input_row(&mut self, call: Call, input: usize, row: usize) -> &mut [f32] {
        let floats = self.floats_of(call, 0, input, row);
        let inputs = self.buffers.as_mut().map(|b| b.inputs.floats_mut());
        &mut inputs.unwrap_or_default()[floats]
    }

    /// A row of an input, as the host wrote it.
    pub fn written_row(&self, call: Call, input: usize, row: usize) -> &[f32] {
        let inputs = self.buffers.as_ref().map(|b| b.inputs.floats());
        &inputs.unwrap_or_default()[self.floats_of(call, 0, input, row)]
    }

    /// A row of an output, after [`Runner::run`] returned true.
    pub fn output_row(&self, call: Call, output: usize, row: usize) -> &[f32] {
        let outputs = self.buffers.as_ref().map(|b| b.outputs.floats());
        &outputs.unwrap_or_default()[self.floats_of(call, 1, output, row)]
    }

    /// The floats of a row in the buffer of its side: 0 for inputs, 1 for outputs.
    fn floats_of(&self, call: Call, side: usize, index: usize, row: usize) -> Range<usize> {
        let values = &self.compiled().interfaces[call.span][side];
        let (start, width) = place(values, index, call.padded);
        start + row * width..start + (row + 1) * width
    }

    /// Runs a call whose inputs were written. Returns whether all outputs are complete
    /// and finite. If not, the CPU must run the span.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Delegate`] if the device failed and `strict` is
    /// on.
    pub fn run(&mut self, call: Call, cancel: Option<&CancelToken>) -> Result<bool> {
        let began = Instant::now();
        self.pad(call);
        let each = self.compiled().program_rows(call.phase);
        for first in (0..call.padded).step_by(each) {
            if let Err(error) = self.submit_and_wait(call, first, cancel)? {
                return self.failed(error, false).map(|()| false);
            }
        }
        if !self.is_finite(call) {
            let message = format!("outputs of {} are not finite", self.name(call));
            let error = DelegateError::found(Stage::Output, Code::Corrupt, message);
            return self.failed(error, true).map(|()| false);
        }
        self.failures_in_a_row = 0;
        self.stats.time += began.elapsed();
        Ok(true)
    }

    fn name(&self, call: Call) -> &str {
        &self.compiled().report.spans[call.span].name
    }

    /// Fills the rows beyond the pass with zeros.
    fn pad(&mut self, call: Call) {
        for input in 0..self.compiled().interfaces[call.span][0].len() {
            for row in call.rows..call.padded {
                self.input_row(call, input, row).fill(0.0);
            }
        }
    }

    fn is_finite(&self, call: Call) -> bool {
        let outputs = 0..self.compiled().interfaces[call.span][1].len();
        let mut rows = outputs.flat_map(|output| (0..call.rows).map(move |row| (output, row)));
        rows.all(|(output, row)| {
            // The sum is finite only if all terms are. An overflow of the sum is a
            // fault too.
            let row = self.output_row(call, output, row);
            row.iter().map(|x| x.abs()).sum::<f32>().is_finite()
        })
    }

    /// Runs one job: the rows from `first` on. The inner error is the device's.
    fn submit_and_wait(
        &mut self,
        call: Call,
        first: usize,
        cancel: Option<&CancelToken>,
    ) -> Result<Result<(), DelegateError>> {
        let Some(mut buffers) = self.buffers.take() else {
            return Ok(Ok(()));
        };
        let began = Instant::now();
        let job = match self.submit(&mut buffers, call, first) {
            Ok(job) => job,
            Err(error) => {
                self.buffers = Some(buffers);
                return Ok(Err(error));
            }
        };
        let deadline = self.compiled().options.deadline;
        let (outcome, job) = wait(job, began, deadline, cancel);
        if cancel.is_some_and(CancelToken::is_cancelled) {
            self.put_back(buffers, job);
            return Err(Error::Cancelled);
        }
        self.put_back(buffers, job);
        Ok(outcome.map(|metrics| self.count(&metrics)))
    }

    fn submit(
        &self,
        buffers: &mut DeviceBuffers,
        call: Call,
        first: usize,
    ) -> Result<Job, DelegateError> {
        let compiled = self.compiled();
        let [inputs, outputs] = &compiled.interfaces[call.span];
        let DeviceBuffers {
            session,
            inputs: from,
            outputs: to,
        } = buffers;
        let sides = [(inputs, &*from), (outputs, &*to)];
        let places = sides.into_iter().flat_map(|(values, buffer)| {
            (0..values.len()).map(move |index| {
                let (start, width) = place(values, index, call.padded);
                Place {
                    tensor: values[index].0,
                    buffer,
                    offset: start + first * width,
                }
            })
        });
        let program = compiled.program(call.span, call.phase);
        let deadline = compiled.options.deadline;
        // SAFETY: the buffers are kept with any job that is not over, and nothing reads
        // or writes them there.
        unsafe { session.submit(program, places, deadline) }
    }

    /// Keeps the buffers for the next call, or together with a job that still uses
    /// them.
    fn put_back(&mut self, buffers: DeviceBuffers, job: Option<Job>) {
        match job {
            None => self.buffers = Some(buffers),
            Some(job) => self.late = Some((buffers, job)),
        }
    }

    /// Takes the buffers of a late job back if it has ended.
    fn reap_timed_out(&mut self) {
        let Some((buffers, mut job)) = self.late.take() else {
            return;
        };
        match job.wait(Duration::ZERO) {
            Outcome::Running | Outcome::Stuck(_) => self.late = Some((buffers, job)),
            _ if self.stats.given_up => drop_in_background(buffers, job),
            _ => self.buffers = Some(buffers),
        }
    }

    fn count(&mut self, metrics: &Metrics) {
        let stats = &mut self.stats;
        if let Some(energy) = metrics.energy_uj {
            *stats.energy_uj.get_or_insert(0) += energy;
        }
        stats.temperature_mc = stats.temperature_mc.max(metrics.temperature_mc);
    }

    /// Records a failure. `for_good` stops the use of the device at once.
    fn failed(&mut self, error: DelegateError, for_good: bool) -> Result<()> {
        self.failures_in_a_row += 1;
        self.stats.failures += 1;
        let is_late = error.code == Code::Timeout;
        self.late_calls += u32::from(is_late);
        let may_pass = !for_good && (error.retryable || is_late || self.reset_after(&error));
        let gives_up =
            !may_pass || self.failures_in_a_row >= MAX_FAILURES || self.late_calls >= MAX_LATE;
        self.stats.last_failure = Some(error.clone());
        if gives_up {
            self.stats.given_up = true;
            self.buffers = None;
        }
        if self.compiled().options.strict {
            return Err(Error::Delegate(error));
        }
        self.log_failure(&error);
        Ok(())
    }

    /// Resets the device if the error asks for it. Returns whether the device may be used
    /// again.
    fn reset_after(&mut self, error: &DelegateError) -> bool {
        let asked = error.needs_reset && self.stats.resets < MAX_RESETS;
        // A late job may still use the buffers that the next job would get.
        let is_reset = asked && self.late.is_none() && self.compiled().delegate.reset().is_ok();
        self.stats.resets += u64::from(is_reset);
        is_reset
    }

    /// Logs a failure that no caller sees. A device may fail at every call, so most
    /// failures only count.
    fn log_failure(&self, error: &DelegateError) {
        let failures = self.stats.failures;
        if self.stats.given_up {
            log::warn!("the CPU computes all further spans, after failure {failures}: {error}");
        } else if failures.is_power_of_two() {
            log::warn!("the CPU computes this span, after failure {failures}: {error}");
        }
    }

    /// Decides whether this call of a program is audited; returns the row to check if
    /// so.
    pub fn audited_row(&mut self, call: Call) -> Option<usize> {
        let program = self.compiled().program(call.span, call.phase);
        let calls = &mut self.calls[program];
        *calls += 1;
        let is_audited = (*calls - 1).is_multiple_of(AUDITED);
        is_audited.then(|| random_row(self.seed, program, *calls, call.rows))
    }

    /// Judges an audit by its difference. Returns whether the outputs may be used.
    ///
    /// # Errors
    /// As for [`Runner::run`].
    pub fn audit(&mut self, call: Call, difference: f64) -> Result<bool> {
        self.stats.audits += 1;
        if difference.is_nan() || difference > self.stats.worst_audit {
            self.stats.worst_audit = difference;
        }
        let allowed = allowed_difference(self.compiled());
        if difference <= allowed {
            return Ok(true);
        }
        let message = format!(
            "a row of {} differs from the CPU's by {difference:.1e} (squared, relative); the limit is {allowed:.0e}",
            self.name(call)
        );
        let error = DelegateError::found(Stage::Output, Code::Corrupt, message);
        self.failed(error, true).map(|()| false)
    }

    /// Counts a call that ran on the device or on the CPU.
    pub fn ran(&mut self, call: Call, on_device: bool) {
        let for_a_row = self.compiled().report.spans[call.span].multiply_adds;
        let stage = match call.phase {
            ProgramSet::Prefill => &mut self.stats.prefill,
            ProgramSet::Decode => &mut self.stats.decode,
        };
        let count = match on_device {
            true => &mut stage.on_device,
            false => &mut stage.on_cpu,
        };
        count.spans += 1;
        count.multiply_adds += for_a_row * call.rows as u64;
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Some((buffers, job)) = self.late.take() {
            drop_in_background(buffers, job);
        }
    }
}

/// Frees the buffers of a job that may never end, on another thread: the call that ends
/// a device's session may take arbitrarily long.
fn drop_in_background(buffers: DeviceBuffers, job: Job) {
    // The drop order is session, buffers, job. If no thread can be started, they are
    // dropped here.
    let late_job = (buffers, job);
    let _ = std::thread::Builder::new()
        .name("ondol-late".into())
        .spawn(move || drop(late_job));
}

/// Chooses which of the `rows` rows of a program's call is audited.
fn random_row(seed: u64, program: usize, call: u64, rows: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    (seed, program, call).hash(&mut hasher);
    (hasher.finish() % rows.max(1) as u64) as usize
}

/// The first float of value `index` in the buffer of its side, and the value's width.
fn place(values: &[(usize, usize)], index: usize, padded: usize) -> (usize, usize) {
    let before = values[..index]
        .iter()
        .map(|&(_, width)| width * padded)
        .sum();
    (before, values[index].1)
}

/// Waits until the job is over, its deadline is past, or it is cancelled. Returns the
/// job if it still runs.
fn wait(
    mut job: Job,
    began: Instant,
    deadline: Duration,
    cancel: Option<&CancelToken>,
) -> (Result<Metrics, DelegateError>, Option<Job>) {
    let is_cancelled = || cancel.is_some_and(CancelToken::is_cancelled);
    while began.elapsed() < deadline && !is_cancelled() {
        match job.wait(LOOK) {
            Outcome::Done(metrics) => return (Ok(metrics), None),
            Outcome::Failed(error) => return (Err(error), None),
            Outcome::Stuck(error) => return (Err(error), Some(job)),
            Outcome::Running => {}
        }
    }
    let late = late("the job was not done by its deadline");
    if let Err(error) = job.cancel() {
        return (Err(error), Some(job));
    }
    match job.wait(GRACE) {
        Outcome::Running | Outcome::Stuck(_) => (Err(late), Some(job)),
        _ => (Err(late), None),
    }
}

fn late(message: &str) -> DelegateError {
    DelegateError::found(Stage::Wait, Code::Timeout, message)
}

/// The largest difference that an audit accepts. A span has several matmuls in a row;
/// each rounds its inputs, and the CPU rounds too.
fn allowed_difference(compiled: &Compiled) -> f64 {
    use super::info::Activations;
    match compiled.delegate.info().arithmetic.activations {
        Activations::I8 | Activations::Bf16 => 2e-2,
        Activations::I16 | Activations::F16 | Activations::F32 => 5e-3,
    }
}

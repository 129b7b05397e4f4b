//! Runs spans on a delegate: copies values out of the arena and results back into it.

use super::executor::Executor;
use super::pass::{Pass, Phase};
use crate::Result;
use crate::delegate::{Call, ProgramSet, Runner};
use crate::plan::SpanSteps;

impl Executor<'_> {
    /// If a span begins at body step `step`, runs it on the delegate. Returns the index
    /// of the step after the span, or `None` if the CPU must run this step.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled), and
    /// [`Error::Delegate`](crate::Error::Delegate) if the offload is strict.
    pub(super) fn offload_step(&mut self, step: usize, pass: Pass) -> Result<Option<usize>> {
        let Some(runner) = self.offload.take() else {
            return Ok(None);
        };
        let starts = |span: &SpanSteps| span.steps.start == step;
        let next = match self.shared.plan.spans.iter().position(starts) {
            Some(span) => self.run_span(span, pass, runner),
            None => Ok(None),
        };
        self.offload = Some(runner);
        next
    }

    fn run_span(&mut self, span: usize, pass: Pass, runner: &mut Runner) -> Result<Option<usize>> {
        let phase = match pass.phase {
            Phase::Prefill(_) => ProgramSet::Prefill,
            Phase::Decode => ProgramSet::Decode,
        };
        let Some(call) = runner.begin(span, phase, pass.rows)? else {
            return Ok(None);
        };
        let steps = &self.shared.plan.spans[span];
        self.write_inputs(call, steps, runner);
        let ran = runner.run(call, pass.cancel())? && self.audit_span(call, steps, pass, runner)?;
        if ran {
            self.read_outputs(call, steps, runner);
        }
        runner.ran(ran);
        Ok(ran.then_some(steps.steps.end))
    }

    fn write_inputs(&self, call: Call, steps: &SpanSteps, runner: &mut Runner) {
        for (input, &buffer) in steps.inputs.iter().enumerate() {
            for row in 0..call.rows {
                // SAFETY: no step runs.
                let values = unsafe { self.shared.arena.row(buffer, row) };
                runner.input_row(call, input, row).copy_from_slice(values);
            }
        }
    }

    fn read_outputs(&self, call: Call, steps: &SpanSteps, runner: &Runner) {
        for (output, &buffer) in steps.outputs.iter().enumerate() {
            for row in 0..call.rows {
                let values = runner.output_row(call, output, row);
                // SAFETY: no step runs.
                unsafe { self.shared.arena.row_mut(buffer, row) }.copy_from_slice(values);
            }
        }
    }

    /// Checks the device in some calls: computes one of the call's rows on the CPU, as
    /// row 0 of the buffers, and compares it with the device's. Returns whether the
    /// device's outputs may be used. The span's inputs in the arena are as before when
    /// this returns.
    fn audit_span(
        &mut self,
        call: Call,
        steps: &SpanSteps,
        pass: Pass,
        runner: &mut Runner,
    ) -> Result<bool> {
        let Some(row) = runner.audited_row(call) else {
            return Ok(true);
        };
        for (input, &buffer) in steps.inputs.iter().enumerate() {
            let values = runner.written_row(call, input, row);
            // SAFETY: no step runs.
            unsafe { self.shared.arena.row_mut(buffer, 0) }.copy_from_slice(values);
        }
        let plan = self.shared.plan;
        for step in &plan.body[steps.steps.clone()] {
            self.step(step, pass.of(&(row..row + 1)))?;
        }
        let difference = self.difference(call, steps, row, runner);
        // The steps overwrote inputs that the CPU, or a later step, may still need.
        self.restore_inputs(call, steps, runner);
        runner.audit(call, difference)
    }

    /// The squared distance between the device's outputs in `row` and the CPU's (in row
    /// 0), divided by the squared length of the CPU's.
    fn difference(&self, call: Call, steps: &SpanSteps, row: usize, runner: &Runner) -> f64 {
        let (mut distance, mut length) = (0.0, 0.0);
        for (output, &buffer) in steps.outputs.iter().enumerate() {
            // SAFETY: no step runs.
            let expected = unsafe { self.shared.arena.row(buffer, 0) };
            let found = runner.output_row(call, output, row);
            for (x, y) in expected.iter().zip(found) {
                let (x, y) = (f64::from(*x), f64::from(*y));
                distance += (x - y) * (x - y);
                length += x * x;
            }
        }
        if distance == 0.0 {
            0.0
        } else {
            distance / length
        }
    }

    fn restore_inputs(&self, call: Call, steps: &SpanSteps, runner: &Runner) {
        for (input, &buffer) in steps.inputs.iter().enumerate() {
            for row in 0..call.rows {
                let values = runner.written_row(call, input, row);
                // SAFETY: no step runs.
                unsafe { self.shared.arena.row_mut(buffer, row) }.copy_from_slice(values);
            }
        }
    }
}

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
        runner.ran(call, ran);
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

    /// The largest difference of an output: the squared distance between the device's
    /// numbers in `row` and the CPU's (in row 0), divided by the squared length of the
    /// CPU's, or of a typical row of the call if that is longer. Each output is judged by
    /// itself, since values are small beside hidden states. The values of a prompt's
    /// first token are small beside those of other tokens too, so that the rounding of
    /// 8-bit inputs alone is large beside them.
    fn difference(&self, call: Call, steps: &SpanSteps, row: usize, runner: &Runner) -> f64 {
        let outputs = steps.outputs.iter().enumerate();
        let differences = outputs.map(|(output, &buffer)| {
            // SAFETY: no step runs.
            let expected = unsafe { self.shared.arena.row(buffer, 0) };
            let found = runner.output_row(call, output, row);
            let rows = (0..call.rows).map(|row| runner.output_row(call, output, row));
            relative_difference(found, expected, typical_length(rows))
        });
        differences.fold(0.0, worse)
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

/// The squared distance of `found` from `expected`, over the squared length of
/// `expected`, or over `typical` if that is larger.
fn relative_difference(found: &[f32], expected: &[f32], typical: f64) -> f64 {
    let pairs = expected.iter().zip(found);
    let distance: f64 = pairs
        .map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2))
        .sum();
    match distance == 0.0 {
        true => 0.0,
        false => distance / squared_length(expected).max(typical),
    }
}

/// The geometric mean of the rows' squared lengths: a few rows that are far longer than
/// the others hardly change it.
fn typical_length<'r>(rows: impl ExactSizeIterator<Item = &'r [f32]>) -> f64 {
    let count = rows.len() as f64;
    let logarithms = rows.map(|row| squared_length(row).ln());
    (logarithms.sum::<f64>() / count).exp()
}

fn squared_length(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x).powi(2)).sum()
}

/// The larger of two differences; NaN is larger than all.
fn worse(a: f64, b: f64) -> f64 {
    match a.is_nan() || a > b {
        true => a,
        false => b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_judged_beside_the_typical_row() {
        let expected = [3.0, 4.0];
        let found = [3.0, 5.0];
        assert_eq!(relative_difference(&found, &expected, 0.0), 1.0 / 25.0);
        assert_eq!(relative_difference(&found, &expected, 100.0), 0.01);
        assert_eq!(relative_difference(&[0.0; 2], &[0.0; 2], 0.0), 0.0);
        assert_eq!(relative_difference(&found, &[0.0; 2], 0.0), f64::INFINITY);

        let rows = [[1.0f32, 0.0], [10.0, 0.0], [0.0, 0.1]];
        let typical = typical_length(rows.iter().map(|row| row.as_slice()));
        assert!((typical - 1.0).abs() < 1e-6, "{typical}");
        assert_eq!(typical_length([[0.0f32].as_slice()].into_iter()), 0.0);
    }

    #[test]
    fn nothing_is_worse_than_no_number() {
        assert_eq!([0.5, 2.0, 1.0].into_iter().fold(0.0, worse), 2.0);
        assert!([0.5, f64::NAN, 1.0].into_iter().fold(0.0, worse).is_nan());
    }
}

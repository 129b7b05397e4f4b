//! Runs a segment on the device.

use ondol::delegate::segment::Segment;
use ondol::delegate::{
    Buffer, Code, Delegate, DelegateError, DeviceSession, Job, Outcome, Place, Program, Stage,
};
use std::time::{Duration, Instant};

/// Values of tensors, `rows x cols` each.
pub type Values = Vec<Vec<f32>>;

/// Floats behind each output that the device must not write.
const GUARD: usize = 256;

/// The value of these floats, and of the outputs before the device writes them: a NaN.
const UNTOUCHED: f32 = f32::from_bits(0x7FC0_5AFE);

/// A compiled segment with the memory to run it.
pub struct Bench {
    session: DeviceSession,
    inputs: Buffer,
    outputs: Buffer,
    /// Index and length of each input, then of each output.
    interface: [Vec<(usize, usize)>; 2],
    deadline: Duration,
}

impl Bench {
    /// Compiles a segment.
    pub fn new(
        delegate: &Delegate,
        segment: &Segment,
        deadline: Duration,
    ) -> Result<Bench, DelegateError> {
        Bench::of_program(delegate, delegate.compile(segment)?, segment, deadline)
    }

    /// Makes the memory to run a program that was compiled from the segment.
    pub fn of_program(
        delegate: &Delegate,
        program: Program,
        segment: &Segment,
        deadline: Duration,
    ) -> Result<Bench, DelegateError> {
        let (inputs, outputs) = segment.interface();
        let len = |index: usize| segment.rows * segment.tensors[index].cols;
        let with_len = |list: Vec<usize>| list.into_iter().map(|i| (i, len(i))).collect();
        let interface: [Vec<(usize, usize)>; 2] = [with_len(inputs), with_len(outputs)];
        let floats = |side: &Vec<(usize, usize)>| side.iter().map(|&(_, len)| len + GUARD).sum();
        Ok(Bench {
            session: DeviceSession::new(vec![program])?,
            inputs: Buffer::new(delegate, floats(&interface[0]))?,
            outputs: Buffer::new(delegate, floats(&interface[1]))?,
            interface,
            deadline,
        })
    }

    /// Computes the outputs for inputs; both are in the order of [`Segment::interface`].
    pub fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Values, DelegateError> {
        let mut at = 0;
        for values in inputs {
            self.inputs.floats_mut()[at..at + values.len()].copy_from_slice(values);
            at += values.len() + GUARD;
        }
        // A number that the device does not write stays NaN, and is found.
        self.outputs.floats_mut().fill(UNTOUCHED);
        let places = places(&self.interface, &self.inputs, &self.outputs);
        // SAFETY: the buffers live as long as the session, and are not looked at
        // before the job is over.
        #[allow(unsafe_code)]
        let mut job = unsafe { self.session.submit(0, places.into_iter(), self.deadline)? };
        let began = Instant::now();
        loop {
            match job.wait(self.deadline) {
                Outcome::Done(_) => return self.read(),
                Outcome::Failed(error) => return Err(error),
                Outcome::Running if began.elapsed() < 2 * self.deadline => job.cancel()?,
                Outcome::Running => return Err(abandon(job, never_ends())),
                Outcome::Stuck(error) => return Err(abandon(job, error)),
            }
        }
    }

    fn read(&self) -> Result<Values, DelegateError> {
        let mut rest = self.outputs.floats();
        let mut values = Vec::new();
        for &(tensor, len) in &self.interface[1] {
            let (value, after) = rest.split_at(len);
            let (guard, after) = after.split_at(GUARD);
            let untouched = |x: &f32| x.to_bits() == UNTOUCHED.to_bits();
            if !guard.iter().all(untouched) {
                let message = format!("it wrote past the end of the output {tensor}");
                return Err(found(Stage::Output, Code::Corrupt, &message));
            }
            values.push(value.to_vec());
            rest = after;
        }
        Ok(values)
    }
}

/// The place of each value: one after the other in the memory of inputs or of outputs.
fn places<'b>(
    interface: &[Vec<(usize, usize)>; 2],
    inputs: &'b Buffer,
    outputs: &'b Buffer,
) -> Vec<Place<'b>> {
    let mut places = Vec::new();
    for (values, buffer) in interface.iter().zip([inputs, outputs]) {
        let mut offset = 0;
        for &(tensor, len) in values {
            places.push(Place {
                tensor,
                buffer,
                offset,
            });
            offset += len + GUARD;
        }
    }
    places
}

/// Leaks a job that can't be freed because it may still run.
fn abandon(job: Job, error: DelegateError) -> DelegateError {
    std::mem::forget(job);
    error
}

fn never_ends() -> DelegateError {
    let message = "the job did not end, not even when it was cancelled";
    found(Stage::Wait, Code::Timeout, message)
}

fn found(stage: Stage, code: Code, message: &str) -> DelegateError {
    DelegateError {
        stage,
        code,
        vendor_code: 0,
        retryable: false,
        needs_reset: false,
        message: message.to_owned(),
    }
}

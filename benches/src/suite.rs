//! Chooses the tests of a file, and runs the rounds in which the engines take turns.

use crate::Result;
use crate::ceilings;
use crate::engines::{Engine, Speed};
use crate::files::{ModelFile, Shelf};
use crate::machine::cores;
use crate::process::{self, BusyCore};
use crate::results::{EngineName, Measurement, Round, Sample, Test};

/// The most bytes that the read loop reads: far more than any cache.
const MOST_READ: u64 = 1 << 30;

/// Tokens of context for which a cold start shows the memory.
const START_CONTEXT: usize = 512;

/// How everything is measured.
pub struct Suite {
    /// The engines, in the order of their turns.
    pub engines: Vec<Box<dyn Engine>>,
    /// Threads of each.
    pub threads: usize,
    /// The number of turns of every engine.
    pub rounds: usize,
    /// Runs of which a turn gives the median.
    pub repeat: usize,
}

/// The tests of a file: all files get the short ones, two formats of the real
/// models the long ones, Q4_0 the busy machine.
pub fn default_tests(model: &str, format: &str) -> Vec<Test> {
    let mut tests = vec![Test::Prefill(512), Test::Decode(128), Test::Start];
    if matches!(format, "Q4_0" | "Q4_K_M") {
        tests.push(Test::Prefill(2048));
        if model != "1b" {
            tests.push(Test::Prefill(8192));
        }
    }
    if format == "Q4_0" {
        tests.push(Test::Busy(64));
        tests.push(Test::Batch(64, 8));
    }
    tests
}

impl Suite {
    /// Measures one test on one file.
    ///
    /// # Errors
    /// If Ondol fails. A peer that fails is left out with a message.
    pub fn measure(&self, shelf: &Shelf, file: &ModelFile, test: Test) -> Result<Measurement> {
        let facts = shelf.facts(&file.path, context(test), self.threads)?;
        let mut rounds = Vec::new();
        for number in 1..=self.rounds {
            let (model, format) = (&file.model, &file.format);
            eprintln!(
                "bench: {model} {format}, {test}, round {number} of {}",
                self.rounds
            );
            let mut round = Round::default();
            if let Test::Decode(_) = test {
                let bytes = facts.touched_bytes().min(MOST_READ) as usize;
                round.read_bytes_per_s = Some(ceilings::read_bytes_per_s(bytes, self.threads));
            }
            for engine in self
                .engines
                .iter()
                .filter(|engine| takes_part(engine.name(), test))
            {
                match self.turn(engine.as_ref(), file, test) {
                    Ok(Some(sample)) => {
                        eprintln!("bench:   {:15} {:.3}", engine.name().as_str(), sample.value);
                        round.samples.insert(engine.name(), sample);
                    }
                    Ok(None) => {}
                    Err(reason) if EngineName::PEERS.contains(&engine.name()) => {
                        eprintln!("bench:   {} is left out: {reason}", engine.name().as_str());
                    }
                    Err(reason) => return Err(reason),
                }
            }
            rounds.push(round);
        }
        Ok(Measurement {
            model: file.model.clone(),
            format: file.format.clone(),
            test,
            facts,
            rounds,
        })
    }

    fn turn(&self, engine: &dyn Engine, file: &ModelFile, test: Test) -> Result<Option<Sample>> {
        match test {
            Test::Prefill(tokens) => self.speed(engine, file, Speed::Prefill(tokens)),
            Test::Decode(tokens) => self.speed(engine, file, Speed::Decode(tokens)),
            Test::Batch(tokens, sequences) => {
                self.speed(engine, file, Speed::Batch(tokens, sequences))
            }
            Test::Busy(tokens) => self.busy(engine, file, Speed::Decode(tokens)),
            Test::Start => self.start(engine, file),
        }
    }

    fn speed(&self, engine: &dyn Engine, file: &ModelFile, speed: Speed) -> Result<Option<Sample>> {
        let Some(mut command) = engine.speed(file, speed, self.repeat) else {
            return Ok(None);
        };
        let done = process::run(&mut command)?;
        Ok(Some(Sample {
            value: engine.tokens_per_s(&done.stdout)?,
            quiet: None,
            peak_rss: done.peak_rss,
            peak_anonymous: done.peak_anonymous,
        }))
    }

    fn busy(&self, engine: &dyn Engine, file: &ModelFile, speed: Speed) -> Result<Option<Sample>> {
        if cores() != self.threads {
            return Err("a core can only be taken where every core has its thread".into());
        }
        let Some(quiet) = self.speed(engine, file, speed)? else {
            return Ok(None);
        };
        let _busy = BusyCore::take(cores() - 1)?;
        let busy = self.speed(engine, file, speed)?;
        Ok(busy.map(|sample| Sample {
            quiet: Some(quiet.value),
            ..sample
        }))
    }

    /// The shortest of the runs, after one that brings the file into the page cache.
    fn start(&self, engine: &dyn Engine, file: &ModelFile) -> Result<Option<Sample>> {
        let Some(mut command) = engine.start(file) else {
            return Ok(None);
        };
        process::run(&mut command)?;
        let mut best: Option<process::Finished> = None;
        for _ in 0..self.repeat {
            let done = process::run(&mut command)?;
            if best.as_ref().is_none_or(|best| done.seconds < best.seconds) {
                best = Some(done);
            }
        }
        Ok(best.map(|done| Sample {
            value: done.seconds,
            quiet: None,
            peak_rss: done.peak_rss,
            peak_anonymous: done.peak_anonymous,
        }))
    }
}

/// Whether an engine takes part in a test. Prefill is as fast with every order of rows, so it runs
/// on the file as it is; on a busy machine the packed copy runs, which `ondol run` uses.
fn takes_part(engine: EngineName, test: Test) -> bool {
    match test {
        Test::Prefill(_) => engine != EngineName::OndolPacked,
        Test::Decode(_) => true,
        Test::Start => engine != EngineName::Candle,
        Test::Batch(..) => engine != EngineName::Candle,
        Test::Busy(_) => matches!(engine, EngineName::OndolPacked | EngineName::LlamaCpp),
    }
}

/// Tokens of context that a test has room for.
fn context(test: Test) -> usize {
    match test {
        Test::Prefill(tokens)
        | Test::Decode(tokens)
        | Test::Batch(tokens, _)
        | Test::Busy(tokens) => tokens,
        Test::Start => START_CONTEXT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_prompts_are_for_few_files() {
        let long = |model, format| default_tests(model, format).contains(&Test::Prefill(8192));
        assert!(long("smollm2", "Q4_K_M"));
        assert!(!long("smollm2", "Q8_0") && !long("1b", "Q4_K_M"));
    }
}

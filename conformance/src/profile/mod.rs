//! Performance in the forms that laboratories hand in: [`grid`] follows what is public of
//! K-Perf, and [`mobile`] the run rules of MLPerf Mobile.

pub mod grid;
pub mod mobile;
pub mod tasks;

use crate::meter::{Energy, Meter, MeterError, Phase, Readings};
use crate::report::{Device, Host, Model, Submission};
use crate::{Result, machine, scattered};
use ondol::delegate::Offload;
use ondol::{CancelToken, Session};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

/// Version of the layout of both profiles' JSON.
pub const SCHEMA: u32 = 2;

/// Where, when and by which program a profile was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setting {
    /// The time in Korea: `2026-11-30T21:00:00+09:00`.
    pub created: String,
    /// Who hands it in, and of which device.
    pub submission: Submission,
    /// The arguments of the command line.
    pub command: Vec<String>,
    /// Version of Ondol.
    pub ondol: String,
    /// The commit that it was built from; empty if unknown.
    pub commit: String,
    /// SHA-256 of the program, hexadecimal.
    pub program_sha256: String,
    /// The machine.
    pub host: Host,
    /// The device, if a delegate was used.
    pub device: Option<Device>,
}

impl Setting {
    /// Describes this program and machine, with the engine of a session.
    ///
    /// # Errors
    /// If the program or the plug-in can't be read.
    pub fn of(
        session: &Session,
        plugin: Option<&Path>,
        submission: Submission,
        command: Vec<String>,
    ) -> Result<Setting> {
        let engine = session.engine();
        let device = match (engine.offload().map(Offload::delegate), plugin) {
            (Some(delegate), Some(plugin)) => Some(Device::of(delegate.info(), plugin)?),
            _ => None,
        };
        Ok(Setting {
            created: machine::now_in_korea(),
            submission,
            command,
            ondol: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("ONDOL_COMMIT").to_owned(),
            program_sha256: machine::program_sha256()?,
            host: Host::of(engine),
            device,
        })
    }
}

/// A model, and the format of most of its weights.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// The model.
    pub model: Model,
    /// The format that has most of its bytes: `Q4_0`.
    pub precision: String,
}

/// The meter of a run, and what the machine drew idle before it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Metered {
    /// What it is, in English.
    pub name: String,
    /// What the machine drew idle, in watts.
    pub idle_watts: f64,
    /// How long idleness was measured, in seconds.
    pub idle_seconds: f64,
}

/// Joules per token, without what the machine draws idle.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Joules {
    /// Prefill, per token of the prompt.
    pub prefill: Option<f64>,
    /// Decode, per token after the first.
    pub decode: Option<f64>,
    /// Prefill and decode together, per token of the answer.
    pub whole: Option<f64>,
}

/// One answer of a fixed length to a prompt of a fixed length.
#[derive(Debug, Clone, Copy)]
struct Answer {
    prefill: Phase,
    decode: Phase,
    /// Seconds until the first token.
    ttft: f64,
    /// Seconds until the last token.
    latency: f64,
}

impl Answer {
    /// Milliseconds per token after the first; `None` for one token.
    fn tpot_ms(&self, output: usize) -> Option<f64> {
        (output > 1).then(|| (self.latency - self.ttft) * 1e3 / (output - 1) as f64)
    }
}

/// Answers a prompt of `input` tokens with `output` tokens. Their ids are scattered over the
/// vocabulary and begin at place `from` of that list: so the work does not depend on what the
/// model would say, and queries with different `from` differ.
fn answer(
    session: &mut Session,
    meter: &mut Meter,
    [input, output]: [usize; 2],
    from: usize,
) -> ondol::Result<Answer> {
    let vocabulary = session.model().graph().vocabulary;
    let tokens = scattered(from + input + output, vocabulary);
    let (prompt, rest) = tokens[from..].split_at(input);
    session.clear();
    let began = Instant::now();
    let (prefill, done) = meter.during(|| session.prefill(prompt, &CancelToken::new()).map(drop));
    done?;
    let ttft = began.elapsed().as_secs_f64();
    // The first token comes from the prompt's logits.
    let mut next = rest[..output - 1].iter();
    let decode = || next.try_for_each(|&token| session.decode(token).map(drop));
    let (decode, done) = meter.during(decode);
    done?;
    Ok(Answer {
        prefill,
        decode,
        ttft,
        latency: began.elapsed().as_secs_f64(),
    })
}

/// The energy of answers of the same lengths. Work that is too short for the meter has none.
fn joules(
    readings: &Readings,
    idle_watts: f64,
    answers: &[Answer],
    [input, output]: [usize; 2],
) -> Result<Joules, MeterError> {
    let of = |phases: &[Phase]| match readings.energy(phases, idle_watts) {
        Ok(energy) => Ok(Some(energy)),
        Err(MeterError::TooShort { .. } | MeterError::BelowIdle { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let [prefills, decodes]: [Vec<Phase>; 2] = [
        answers.iter().map(|answer| answer.prefill).collect(),
        answers.iter().map(|answer| answer.decode).collect(),
    ];
    let by = |energy: Option<Energy>, tokens: usize| {
        let tokens = (tokens * answers.len()) as f64;
        energy.map(|energy| energy.joules / tokens)
    };
    Ok(Joules {
        prefill: by(of(&prefills)?, input),
        decode: match output {
            1 => None,
            _ => by(of(&decodes)?, output - 1),
        },
        whole: by(of(&[prefills, decodes].concat())?, output),
    })
}

/// The readings of the run, and the idle draw in them; `None` if there is no meter.
fn metered(meter: &Meter, idle: Option<Phase>) -> Result<Option<(Readings, Metered)>, MeterError> {
    let (Some(readings), Some(idle), Some(name)) = (meter.readings()?, idle, meter.name()) else {
        return Ok(None);
    };
    let metered = Metered {
        name,
        idle_watts: readings.watts(&idle)?,
        idle_seconds: crate::meter::IDLE.as_secs_f64(),
    };
    Ok(Some((readings, metered)))
}

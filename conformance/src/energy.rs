//! Level `energy`: energy and temperature, if the device has meters, and what an outside
//! meter read. A missing meter is reported as "not measured", never as zero; readings that
//! can't be true fail.

use crate::meter::{Meter, MeterError, Phase};
use crate::report::{Level, Text};
use crate::{Kit, Result, scattered};
use ondol::delegate::{Label, Offload, StageStats};
use ondol::{CancelToken, Session};
use std::time::{Duration, Instant};

/// Tokens of the prompt that is run for the measurement.
const PROMPT: usize = 256;
/// Tokens that are decoded for the measurement.
const DECODED: usize = 32;
/// The least energy of a multiply-add, in joules: that of 200 tera-operations per second and
/// watt, several times what products on the market reach (30 and less). Reading the weights
/// takes more energy beside this.
const LEAST_JOULES: f64 = 1e-14;
/// The least energy of a multiply-add in decode, in joules, where weights are read from
/// DRAM: each reads one weight, which has at least 4 bits in this contract, at 1 pJ a bit.
/// That is a bound of ours, a few times below what DRAM is reported to take (HBM2 about
/// 4 pJ a bit, the LPDDR of edge devices more).
const LEAST_DRAM_JOULES: f64 = 4.0 * 1e-12;
/// Bytes of weights that no device for the edge can hold on the chip.
const ON_CHIP: u64 = 256 << 20;
/// Parts of the prompt between which the temperature is read.
const READINGS: usize = 8;
/// How long prefill and decode are repeated for an outside meter, which may read once a
/// second.
const OUTSIDE: Duration = Duration::from_secs(15);

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    let Ok(offload) = &kit.offload else {
        kit.nothing_runs(level, "energy.runs");
        return Ok(());
    };
    let label = kit.delegate.info().label;
    let energy = Text::new("energy a prompt token", "프롬프트 토큰당 에너지");
    let heat = Text::new("highest temperature", "최고 온도");
    if label != Label::Hardware {
        let why = format!("a device of the kind `{label}` has no meter of its own");
        level.not_measured("energy.joules", energy, &why);
        level.not_measured("energy.temperature", heat, &why);
        return Ok(());
    }
    say("energy and heat");
    let tokens = PROMPT.min(kit.model.graph().trained_context - DECODED);
    let mut session = kit.npu(offload, tokens + DECODED)?;
    let scattered = scattered(tokens + DECODED, kit.model.graph().vocabulary);
    let (prompt, answer) = scattered.split_at(tokens);
    let mut temperatures = Vec::new();
    for part in prompt.chunks(tokens.div_ceil(READINGS)) {
        session.prefill(part, &CancelToken::new())?;
        let stats = session.engine().offload_stats().unwrap_or_default();
        temperatures.extend(stats.temperature_mc);
    }
    own_meter(level, &session, energy, tokens);
    if offload.report().work.decode > 0.0 {
        own_meter_in_decode(level, offload, &mut session, answer)?;
    }
    heat_gates(level, heat, &temperatures);
    match &kit.setup.meter {
        Some(log) => outside(
            level,
            &mut session,
            [prompt, answer],
            Meter::find(Some(log)),
            say,
        ),
        None => Ok(()),
    }
}

/// Prefill by the device's own meter.
fn own_meter(level: &mut Level, session: &Session, energy: Text, tokens: usize) {
    let stats = session.engine().offload_stats().unwrap_or_default();
    let Some(energy_uj) = stats.energy_uj else {
        level.not_measured("energy.joules", energy, "the device doesn't report energy");
        return;
    };
    let joules = energy_uj as f64 / 1e6;
    let gate = level.tell("energy.joules", energy, joules / tokens as f64, "J");
    gate.note = "by the device's own meter, without the host".to_owned();
    let title = Text::new(
        "energy of a multiply-add, by its own meter",
        "장치 계측 기준 곱셈-누산 1회당 에너지",
    );
    let of_one = joules / multiply_adds(&stats.prefill);
    level
        .at_least("energy.plausible", title, of_one, LEAST_JOULES)
        .unit = "J".to_owned();
}

fn multiply_adds(stage: &StageStats) -> f64 {
    stage.on_device.multiply_adds as f64
}

/// Decode by the device's own meter. It reads every weight for every token.
fn own_meter_in_decode(
    level: &mut Level,
    offload: &Offload,
    session: &mut Session,
    answer: &[u32],
) -> Result<()> {
    let energy = Text::new("energy a decoded token", "생성 토큰당 에너지");
    let before = session.engine().offload_stats().unwrap_or_default();
    for &token in answer {
        session.decode(token)?;
    }
    let after = session.engine().offload_stats().unwrap_or_default();
    let Some((before_uj, after_uj)) = before.energy_uj.zip(after.energy_uj) else {
        level.not_measured("energy.decode", energy, "the device doesn't report energy");
        return Ok(());
    };
    let joules = (after_uj as f64 - before_uj as f64) / 1e6;
    let by_token = joules / answer.len() as f64;
    let gate = level.tell("energy.decode", energy, by_token, "J");
    gate.note = "by the device's own meter, without the host".to_owned();
    let title = Text::new(
        "energy of a multiply-add in decode, by its own meter",
        "장치 계측 기준 디코드의 곱셈-누산 1회당 에너지",
    );
    let work = multiply_adds(&after.decode) - multiply_adds(&before.decode);
    let least = least_in_decode(offload.report().spans.iter().map(|s| s.multiply_adds).sum());
    level
        .at_least("energy.decode.plausible", title, joules / work, least)
        .unit = "J".to_owned();
    Ok(())
}

/// The least energy of a multiply-add in decode for so many weights of at least 4 bits.
fn least_in_decode(weights: u64) -> f64 {
    match weights / 2 > ON_CHIP {
        true => LEAST_DRAM_JOULES,
        false => LEAST_JOULES,
    }
}

/// The whole machine by an outside meter, without what it draws idle.
fn outside(
    level: &mut Level,
    session: &mut Session,
    [prompt, answer]: [&[u32]; 2],
    mut meter: Meter,
    say: &mut impl FnMut(&str),
) -> Result<()> {
    say("idle, for the outside meter");
    let idle = meter.idle();
    say("prefill and decode, for the outside meter");
    let (mut prefills, mut decodes) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < 2 * OUTSIDE {
        session.clear();
        let work = || session.prefill(prompt, &CancelToken::new()).map(drop);
        let (phase, done) = meter.during(work);
        done?;
        prefills.push(phase);
        let decode = || {
            answer
                .iter()
                .try_for_each(|&token| session.decode(token).map(drop))
        };
        let (phase, done) = meter.during(decode);
        done?;
        decodes.push(phase);
    }
    let found = readings(&meter, idle, [&prefills, &decodes]);
    tell_outside(level, found, [prompt.len(), answer.len()], prefills.len());
    Ok(())
}

/// Watts when idle, and joules of prefill and of decode.
fn readings(
    meter: &Meter,
    idle: Option<Phase>,
    phases: [&[Phase]; 2],
) -> Result<[f64; 3], MeterError> {
    let (Some(readings), Some(idle)) = (meter.readings()?, idle) else {
        return Ok([f64::NAN; 3]);
    };
    let watts = readings.watts(&idle)?;
    let [prefill, decode] = phases.map(|phases| readings.energy(phases, watts));
    Ok([watts, prefill?.joules, decode?.joules])
}

fn tell_outside(
    level: &mut Level,
    found: Result<[f64; 3], MeterError>,
    [prompt, answer]: [usize; 2],
    runs: usize,
) {
    let titles = [
        Text::new(
            "energy a prompt token, the whole machine above idle",
            "프롬프트 토큰당 에너지(시스템 전체, 유휴 전력 제외)",
        ),
        Text::new(
            "energy a decoded token, the whole machine above idle",
            "생성 토큰당 에너지(시스템 전체, 유휴 전력 제외)",
        ),
        Text::new("the machine's idle draw", "시스템의 유휴 전력"),
    ];
    let [prefill, decode, idle] = titles;
    match found {
        Ok([watts, of_prefill, of_decode]) => {
            let by = |joules: f64, tokens: usize| joules / (tokens * runs) as f64;
            level.tell(
                "energy.outside.prefill",
                prefill,
                by(of_prefill, prompt),
                "J",
            );
            level.tell("energy.outside.decode", decode, by(of_decode, answer), "J");
            level.tell("energy.outside.idle", idle, watts, "W");
        }
        Err(error) => level.not_measured("energy.outside", prefill, &error.to_string()),
    }
}

/// The highest temperature, and whether the readings differ: work warms a device, so readings
/// that are all equal may be made up. A coarse meter may give equal readings too, so the report
/// is partial, not failed.
fn heat_gates(level: &mut Level, heat: Text, milli_degrees: &[i32]) {
    let Some(highest) = milli_degrees.iter().max() else {
        level.not_measured(
            "energy.temperature",
            heat,
            "the device doesn't report temperature",
        );
        return;
    };
    level.tell("energy.temperature", heat, f64::from(*highest) / 1e3, "°C");
    let title = Text::new("the temperature is measured", "온도를 실제로 측정함");
    let constant = milli_degrees.len() > 1 && milli_degrees.iter().all(|t| t == highest);
    let outcome = match constant {
        false => Ok(()),
        true => Err(format!(
            "all {} readings are {highest} thousandths of a degree",
            milli_degrees.len()
        )),
    };
    level.holds_or_partial("energy.temperature-moves", title, outcome);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the chip can't hold is read from DRAM.
    #[test]
    fn the_least_energy_depends_on_where_weights_can_be() {
        assert_eq!(least_in_decode(100_000_000), LEAST_JOULES);
        assert_eq!(least_in_decode(1_000_000_000), LEAST_DRAM_JOULES);
    }
}

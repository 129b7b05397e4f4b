//! Level `energy`: energy and temperature, if the device has meters. A missing meter is
//! reported as "not measured", never as zero; a meter that can't be right fails.

use crate::report::{Level, Text};
use crate::{Kit, Result, scattered};
use ondol::CancelToken;
use ondol::delegate::Label;

/// Tokens that are run for the measurement.
const PROMPT: usize = 256;
/// The least energy of a multiply-add, in joules: 200 tera-operations a second and watt,
/// several times what products reach (30 and less). Reading the weights comes on top.
const LEAST_JOULES: f64 = 1e-14;
/// Parts of the prompt between which the temperature is read.
const READINGS: usize = 8;

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
    let tokens = PROMPT.min(kit.model.graph().trained_context);
    let mut session = kit.npu(offload, tokens)?;
    let scattered = scattered(tokens, kit.model.graph().vocabulary);
    let mut temperatures = Vec::new();
    for part in scattered.chunks(tokens.div_ceil(READINGS)) {
        session.prefill(part, &CancelToken::new())?;
        let stats = session.engine().offload_stats().unwrap_or_default();
        temperatures.extend(stats.temperature_mc);
    }
    let stats = session.engine().offload_stats().unwrap_or_default();
    match stats.energy_uj {
        Some(energy_uj) => {
            let joules = energy_uj as f64 / 1e6;
            let gate = level.tell("energy.joules", energy, joules / tokens as f64, "J");
            gate.note = "by the device's own meter, without the host".to_owned();
            let title = Text::new(
                "energy of a multiply-add, by its own meter",
                "장치 계측 기준 곱셈-누산 1회당 에너지",
            );
            let of_one = joules / stats.prefill.on_device.multiply_adds as f64;
            level
                .at_least("energy.plausible", title, of_one, LEAST_JOULES)
                .unit = "J".to_owned();
        }
        None => level.not_measured("energy.joules", energy, "the device tells no energy"),
    }
    heat_gates(level, heat, &temperatures);
    Ok(())
}

/// The highest temperature, and whether the readings are those of a meter: work warms a
/// part. A coarse meter may miss it, so the report is partial, not failed.
fn heat_gates(level: &mut Level, heat: Text, milli_degrees: &[i32]) {
    let Some(highest) = milli_degrees.iter().max() else {
        level.not_measured(
            "energy.temperature",
            heat,
            "the device tells no temperature",
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

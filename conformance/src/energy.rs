//! Level `energy`: energy and temperature, if the device has meters. A missing meter is
//! reported as "not measured", never as zero.

use crate::report::{Level, Text};
use crate::{Kit, Result, scattered};
use ondol::CancelToken;
use ondol::delegate::Label;

/// Tokens that are run for the measurement.
const PROMPT: usize = 256;

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
    session.prefill(
        &scattered(tokens, kit.model.graph().vocabulary),
        &CancelToken::new(),
    )?;
    let stats = session.engine().offload_stats().unwrap_or_default();
    match stats.energy_uj {
        Some(energy_uj) => {
            let each = energy_uj as f64 / 1e6 / tokens as f64;
            let gate = level.tell("energy.joules", energy, each, "J");
            gate.note = "by the device's own meter, without the host".to_owned();
        }
        None => level.not_measured("energy.joules", energy, "the device tells no energy"),
    }
    match stats.temperature_mc {
        Some(milli) => {
            level.tell("energy.temperature", heat, f64::from(milli) / 1e3, "°C");
        }
        None => level.not_measured(
            "energy.temperature",
            heat,
            "the device tells no temperature",
        ),
    }
    Ok(())
}

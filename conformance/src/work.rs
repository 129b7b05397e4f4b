//! How much of the work the device does, and what is missing for a whole verification.

use crate::report::{Level, Name, Text, Verdict};
use crate::{Kit, Sample};
use ondol::Session;
use ondol::delegate::StageStats;

/// The share of the work that a verified device must take, and run, at least.
const SHARE: f64 = 0.9;

/// Whether a level is part of a whole verification. The others measure hardware alone.
fn is_needed(level: Name) -> bool {
    !matches!(level, Name::Performance | Name::Energy)
}

impl Kit<'_> {
    /// Gates of a text: how much of what was claimed ran on the device.
    pub(crate) fn work(&self, level: &mut Level, text: &Sample, device: &Session) {
        let stats = device.engine().offload_stats().unwrap_or_default();
        let title = Text::new(
            format!("{}: failures of the device", text.name),
            format!("{}: 장치 실패 횟수", text.name),
        );
        let gate = level.at_most(
            &format!("e2e.{}.failures", text.name),
            title,
            stats.failures as f64,
            0.0,
        );
        gate.note = stats.last_failure.map_or(String::new(), |e| e.to_string());
        for (stage, ko, counts) in [
            ("prefill", "프리필", stats.prefill),
            ("decode", "디코드", stats.decode),
        ] {
            let title = Text::new(
                format!(
                    "{}, {stage}: share of the claimed work that ran on the device",
                    text.name
                ),
                format!(
                    "{}, {ko}: 할당된 연산 중 장치가 실제로 실행한 비율",
                    text.name
                ),
            );
            let id = format!("e2e.{}.{stage}.ran", text.name);
            match ran(&counts) {
                Some(share) => level.partial_below(&id, title, share, SHARE),
                None => level.not_measured(&id, title, "nothing of it is claimed"),
            }
        }
    }
}

/// The share of the work that ran on the device; `None` if there was no work.
fn ran(counts: &StageStats) -> Option<f64> {
    let [device, cpu] = [counts.on_device, counts.on_cpu].map(|count| count.multiply_adds);
    let all = device + cpu;
    (all > 0).then(|| device as f64 / all as f64)
}

/// The reasons why the verdict can't be better than partial; empty if it can.
pub fn partial(kit: &Kit, levels: &[Level]) -> Vec<Text> {
    let mut why = Vec::new();
    let mut because = |en: String, ko: String| why.push(Text::new(en, ko));
    if kit.setup.files.is_empty() {
        because(
            "`hello` is a toy: a verification needs a real model".to_owned(),
            "`hello`는 시험용 소형 모델이며, 적합성 판정에는 실제 모델이 필요합니다".to_owned(),
        );
    }
    let ran = |name: Name| levels.iter().any(|level| level.name == name);
    if !Name::ALL
        .into_iter()
        .all(|name| ran(name) || !is_needed(name))
    {
        because(
            "not every level was run".to_owned(),
            "일부 단계를 시험하지 않았습니다".to_owned(),
        );
    }
    let work = kit
        .offload
        .as_ref()
        .ok()
        .map(|offload| offload.report().work);
    let shares = work.map_or([0.0; 2], |work| [work.prefill, work.decode]);
    for (en, ko, share) in [
        ("prefill", "프리필", shares[0]),
        ("decode", "디코드", shares[1]),
    ] {
        if share < SHARE {
            let percent = 100.0 * share;
            because(
                format!("of {en}'s matmuls the device takes {percent:.1} %"),
                format!("{ko} 행렬곱 중 장치가 맡은 비율이 {percent:.1} %입니다"),
            );
        }
    }
    let gates = levels.iter().flat_map(|level| &level.gates);
    for gate in gates.filter(|gate| gate.verdict == Verdict::Partial) {
        because(
            format!("not as it should be: {}", gate.title.en),
            format!("기준 미달: {}", gate.title.ko),
        );
    }
    why
}

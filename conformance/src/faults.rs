//! Level `faults`: when the device fails, the answer is right and not much later than
//! the deadline.
//!
//! Faults of the device can be tested only if the plug-in can inject them; the kit
//! itself damages stored programs.

use crate::end_to_end::difference;
use crate::report::{Level, Text, Verdict};
use crate::{Kit, Place, Result, op};
use ondol::delegate::{Code, Offload, OffloadOptions, OffloadStats};
use ondol::{CancelToken, Error, SessionOptions};
use std::ffi::CStr;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Tokens of the prompt in which a fault happens.
const PROMPT: usize = 40;
/// The deadline of a call while faults are tested.
const DEADLINE: Duration = Duration::from_millis(500);
/// The time that the host may take in addition to the device's deadlines.
const SLACK: Duration = Duration::from_secs(5);
/// The allowed difference from the answer without a fault, since another processor may
/// have computed parts of it.
const KL: f64 = 0.05;

/// Faults during a prompt, and the expected counts of the runtime.
const FAULTS: [(&CStr, Code); 8] = [
    (c"busy", Code::Busy),
    (c"throttle", Code::Thermal),
    (c"nan", Code::Corrupt),
    (c"late", Code::Timeout),
    (c"hang", Code::Timeout),
    (c"hang-hard", Code::Timeout),
    (c"device-lost", Code::DeviceLost),
    (c"no-memory", Code::NoMemory),
];

pub fn run(kit: &mut Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    if kit.offload.is_err() {
        kit.nothing_runs(level, "faults.runs");
        return Ok(());
    }
    let tokens = kit.tokens(&kit.setup.texts[0], PROMPT)?;
    let tokens = &tokens[..PROMPT];
    let mut cpu = kit.cpu(PROMPT)?;
    let expected = cpu.prefill(tokens, &CancelToken::new())?.to_vec();
    if kit.delegate.info().injects_faults {
        for (fault, code) in FAULTS {
            say(&format!("the fault `{}`", fault.to_string_lossy()));
            device_fault(kit, level, fault, code, tokens, &expected)?;
        }
        reset(kit, level, tokens)?;
        strict(kit, level, tokens)?;
        silent(kit, level, say)?;
        crash(kit, level, tokens, &expected)?;
    } else {
        let title = Text::new("faults of the device", "장치 결함");
        let why = "the plug-in can't inject faults";
        level.not_measured("faults.device", title, why);
    }
    say("damaged programs");
    damaged_programs(kit, level, tokens, &expected)
}

/// Injects a fault into the second call of a prompt.
fn device_fault(
    kit: &mut Kit,
    level: &mut Level,
    fault: &CStr,
    code: Code,
    tokens: &[u32],
    expected: &[f32],
) -> Result<()> {
    let name = fault.to_string_lossy();
    let id = format!("faults.{name}");
    let title = Text::new(
        format!("`{name}`: KL from the answer without a fault"),
        format!("`{name}`: 결함이 없을 때의 답과의 KL"),
    );
    let offload = faulty(kit, false)?;
    let is_at_once = fault == c"no-memory";
    if !injects(kit, level, (&id, &title), fault, u32::from(!is_at_once)) {
        return Ok(());
    }
    let began = Instant::now();
    let (found, stats) = answer(kit, &offload, tokens)?;
    let took = began.elapsed();
    let gate = level.at_most(&id, title, difference(expected, &found).kl, KL);
    let failure = stats.last_failure;
    gate.note = failure
        .as_ref()
        .map_or("no failure was seen".to_owned(), ToString::to_string);
    if failure.is_none_or(|failure| failure.code != code) {
        gate.verdict = Verdict::Fail;
        gate.note = format!("not seen as `{code}`: {}", gate.note);
    }
    let title = Text::new(
        format!("`{name}`: seconds until the answer was there"),
        format!("`{name}`: 답이 나오기까지의 시간(초)"),
    );
    let limit = (3 * DEADLINE + SLACK).as_secs_f64();
    level
        .at_most(&format!("{id}.time"), title, took.as_secs_f64(), limit)
        .unit = "s".to_owned();
    recover(kit)
}

/// An offload with the short deadline.
fn faulty(kit: &Kit, strict: bool) -> Result<Offload> {
    let options = OffloadOptions {
        deadline: DEADLINE,
        strict,
        // Stored, so that programs are compiled once for all faults.
        cache: Some(kit.setup.scratch.clone()),
        ..kit.offload_options()
    };
    Ok(kit.compile(&options)?)
}

/// Injects a fault. If the plug-in does not make it, the gate of this id and title says so.
fn injects(
    kit: &Kit,
    level: &mut Level,
    (id, title): (&str, &Text),
    fault: &CStr,
    after: u32,
) -> bool {
    let Err(error) = kit.delegate.inject(fault, after) else {
        return true;
    };
    let why = format!("the plug-in does not make it: {error}");
    level.not_measured(id, title.clone(), &why);
    false
}

/// The logits after a prompt, in a session of its own, and what the device did in it.
fn answer(kit: &Kit, offload: &Offload, tokens: &[u32]) -> Result<(Vec<f32>, OffloadStats)> {
    let mut session = kit.npu(offload, PROMPT)?;
    let found = session.prefill(tokens, &CancelToken::new())?.to_vec();
    let stats = session.engine().offload_stats().unwrap_or_default();
    Ok((found, stats))
}

/// Ends all faults; opens the device again if that fails.
fn recover(kit: &mut Kit) -> Result<()> {
    if kit.delegate.inject(c"none", 0).is_err() {
        kit.reopen()?;
    }
    Ok(())
}

/// A lost device that was reset computes what it computed before.
fn reset(kit: &mut Kit, level: &mut Level, tokens: &[u32]) -> Result<()> {
    let title = Text::new(
        "after a loss and a reset the device computes the same as before",
        "유실 후 재설정된 장치가 이전과 같은 결과를 계산함",
    );
    if !kit.delegate.info().resets {
        level.not_measured("faults.reset", title, "the plug-in has no reset");
        return Ok(());
    }
    let offload = faulty(kit, false)?;
    let (before, _) = answer(kit, &offload, tokens)?;
    if !injects(kit, level, ("faults.reset", &title), c"device-lost", 0) {
        return Ok(());
    }
    let (_, lost) = answer(kit, &offload, tokens)?;
    let (again, after) = answer(kit, &offload, tokens)?;
    let outcome = match (lost.resets, after.failures) {
        (0, _) => Err("the reset failed".to_owned()),
        (_, 0) if again == before => Ok(()),
        (_, 0) => Err(format!(
            "the answer is {:.1e} nats off",
            difference(&before, &again).kl
        )),
        (_, failures) => Err(format!("{failures} failures after it")),
    };
    level.holds("faults.reset", title, outcome);
    recover(kit)
}

/// Without fallback, a fault is an error.
fn strict(kit: &mut Kit, level: &mut Level, tokens: &[u32]) -> Result<()> {
    let offload = faulty(kit, true)?;
    let mut session = kit.npu(&offload, PROMPT)?;
    let outcome = match kit.delegate.inject(c"device-lost", 0) {
        Err(error) => Err(error.to_string()),
        Ok(()) => match session.prefill(tokens, &CancelToken::new()) {
            Err(Error::Delegate(error)) if error.code == Code::DeviceLost => Ok(()),
            Err(error) => Err(format!("another error: {error}")),
            Ok(_) => Err("no error".to_owned()),
        },
    };
    drop(session);
    let title = Text::new(
        "in strict mode a lost device is an error",
        "엄격 모드에서 장치 유실은 오류로 보고됨",
    );
    level.holds("faults.strict", title, outcome);
    recover(kit)
}

/// Silently wrong rows: the gates of single operations must detect them.
fn silent(kit: &mut Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    say("the fault `silent-corruption`, by the gates of single operations");
    let title = Text::new(
        "`silent-corruption` of one row in a hundred does not pass the gates",
        "백 행 중 한 행의 조용한 손상이 시험 기준을 통과하지 못함",
    );
    let gate = ("faults.silent", &title);
    if !injects(kit, level, gate, c"silent-corruption", 0) {
        return Ok(());
    }
    let mut corrupted = Level::new(level.name);
    op::run(kit, &mut corrupted, &mut |_| ())?;
    let missed: Vec<&str> = corrupted
        .gates
        .iter()
        .filter(|gate| gate.id.ends_with(".even.row") && gate.verdict == Verdict::Pass)
        .map(|gate| gate.id.as_str())
        .collect();
    let outcome = match missed.as_slice() {
        [] => Ok(()),
        missed => Err(format!("passed in spite of it: {}", missed.join(", "))),
    };
    level.holds("faults.silent", title, outcome);
    recover(kit)
}

/// A crash, which only a plug-in in a process of its own may have: the CPU answers.
fn crash(kit: &mut Kit, level: &mut Level, tokens: &[u32], expected: &[f32]) -> Result<()> {
    let title = Text::new("`crash`: the host survives", "`crash`: 호스트 생존");
    if matches!(kit.setup.place, Place::Here) {
        let why = "the plug-in runs in the host's process, and a crash ends it";
        level.not_measured("faults.crash", title, why);
        return Ok(());
    }
    let offload = faulty(kit, false)?;
    if !injects(kit, level, ("faults.crash", &title), c"crash", 1) {
        return Ok(());
    }
    let (found, stats) = answer(kit, &offload, tokens)?;
    let lost = stats
        .last_failure
        .is_some_and(|failure| failure.code == Code::DeviceLost);
    let kl = difference(expected, &found).kl;
    let outcome = match (lost, kl <= KL) {
        (true, true) => Ok(()),
        (false, _) => Err("the device was not seen as lost".to_owned()),
        (_, false) => Err(format!("the answer is {kl} nats off")),
    };
    level.holds("faults.crash", title, outcome);
    kit.reopen()
}

/// Stored programs with a flipped bit or a missing end are never given to the device.
fn damaged_programs(kit: &Kit, level: &mut Level, tokens: &[u32], expected: &[f32]) -> Result<()> {
    let folder = kit.setup.scratch.join("damaged");
    let options = OffloadOptions {
        cache: Some(folder.clone()),
        ..kit.offload_options()
    };
    let programs = kit.compile(&options)?.report().programs;
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, &str, Damage); 2] = [
        ("flipped", "비트 반전", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        }),
        ("truncated", "잘림", |bytes| {
            bytes.truncate(bytes.len() * 2 / 3)
        }),
    ];
    for (name, korean, damage) in damages {
        let outcome = damage_one(&folder, damage).and_then(|()| {
            let offload = kit.compile(&options).map_err(|e| e.to_string())?;
            let kept = offload.report().from_cache;
            if kept + 1 != programs {
                return Err(format!(
                    "{kept} of {programs} programs were taken from the folder"
                ));
            }
            let run = || -> ondol::Result<f64> {
                let options = SessionOptions {
                    offload: Some(offload.clone()),
                    ..kit.options(PROMPT)
                };
                let mut session = kit.model.session(&options)?;
                let found = session.prefill(tokens, &CancelToken::new())?;
                Ok(difference(expected, found).kl)
            };
            match run() {
                Ok(kl) if kl <= KL => Ok(()),
                Ok(kl) => Err(format!("the answer is {kl} nats off")),
                Err(error) => Err(error.to_string()),
            }
        });
        let title = Text::new(
            format!("a kept program, {name}, is compiled anew"),
            format!("저장된 프로그램이 손상되면({korean}) 다시 컴파일됨"),
        );
        level.holds(&format!("faults.program-{name}"), title, outcome);
    }
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}

/// Damages one of the files in a folder.
fn damage_one(folder: &PathBuf, damage: fn(&mut Vec<u8>)) -> Result<(), String> {
    let words = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(words)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    let first = files
        .first()
        .ok_or_else(|| format!("{}: no program was kept", folder.display()))?;
    let mut bytes = fs::read(first).map_err(words)?;
    damage(&mut bytes);
    fs::write(first, bytes).map_err(words)
}

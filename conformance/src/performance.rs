//! Level `performance`: time and memory, compared with the CPU's. Only for hardware:
//! times of an emulator or a stub mean nothing and are not recorded. A device that says
//! that it is hardware has a device node.

use crate::end_to_end::percentile;
use crate::process::Holdings;
use crate::report::{Level, Series, Text, Verdict};
use crate::spread::Spread;
use crate::{Kit, Result, scattered};
use ondol::delegate::{Label, Offload, OffloadOptions};
use ondol::machine::process_memory;
use ondol::{CancelToken, Session};
use std::time::{Duration, Instant};

/// Prompts whose time to the first token is measured.
const PROMPTS: [usize; 3] = [128, 512, 2048];
/// Runs of each prompt; the median counts.
const RUNS: usize = 5;
/// Tokens that are decoded.
const DECODED: usize = 256;
/// The gate of [`device_node`].
const DEVICE_NODE: &str = "performance.device-node";
/// The duration of the sustained run.
const SUSTAINED: Duration = Duration::from_secs(20);

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    let Ok(offload) = &kit.offload else {
        kit.nothing_runs(level, "performance.runs");
        return Ok(());
    };
    let label = kit.delegate.info().label;
    if label != Label::Hardware {
        let why = format!("a device of the kind `{label}`: its times don't measure performance");
        let title = Text::new("time and memory on the device", "장치의 시간과 메모리");
        level.not_measured("performance", title, &why);
        return Ok(());
    }
    device_node(level, Holdings::of(&kit.setup.plugin));
    measure(kit, offload, level, SUSTAINED, say)
}

/// Whether the process of the plug-in holds a device: a driver does, an emulator need not.
/// A device that is reached otherwise, by a network, can have this gate waived.
fn device_node(level: &mut Level, holdings: Option<Holdings>) {
    let title = Text::new(
        "the plug-in's process holds a device node",
        "플러그인 프로세스가 장치 노드를 열어 둠",
    );
    let Some(holdings) = holdings else {
        level.not_measured(DEVICE_NODE, title, "the system doesn't report it");
        return;
    };
    let outcome = match holdings.nodes.is_empty() {
        true => Err("it says that it is hardware, and its process holds no device".to_owned()),
        false => Ok(()),
    };
    level.holds(DEVICE_NODE, title, outcome);
}

/// All measurements, for any kind of device.
fn measure(
    kit: &Kit,
    offload: &Offload,
    level: &mut Level,
    sustained: Duration,
    say: &mut impl FnMut(&str),
) -> Result<()> {
    let fitting = |&&n: &&usize| n + DECODED <= kit.model.graph().trained_context;
    let prompts: Vec<usize> = PROMPTS.iter().filter(fitting).copied().collect();
    let longest = prompts.last().copied().unwrap_or(32);
    let mut cpu = kit.cpu(longest + DECODED)?;
    let mut npu = kit.npu(offload, longest + DECODED)?;
    let tokens = scattered(longest + DECODED, kit.model.graph().vocabulary);
    for n in prompts {
        say(&format!("time to the first token after {n}"));
        // In alternation: a machine that changes its speed then affects both.
        let (mut of_cpu, mut of_npu) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            of_cpu.push(first_token(&mut cpu, &tokens[..n])?);
            of_npu.push(first_token(&mut npu, &tokens[..n])?);
        }
        let ms = |level: &mut Level, who: &str, ko: &str, seconds: &[f64]| {
            let title = Text::new(
                format!("time to the first token after {n}, {who}"),
                format!("{n} 토큰 뒤 첫 토큰까지의 시간, {ko}"),
            );
            let id = format!("performance.ttft-{n}.{who}");
            let gate = level.tell(&id, title, percentile(seconds, 0.5) * 1e3, "ms");
            gate.spread = spread_ms(seconds);
        };
        ms(level, "device", "장치", &of_npu);
        ms(level, "cpu", "CPU", &of_cpu);
        let [cpu, npu] = [of_cpu, of_npu].map(|times| percentile(&times, 0.5));
        let title = Text::new(
            format!("the device's speed divided by the CPU's, {n} tokens"),
            format!("장치/CPU 속도비, {n} 토큰"),
        );
        ratio(
            level,
            &format!("performance.ttft-{n}.ratio"),
            title,
            cpu / npu,
        );
    }
    say("decoding");
    decode(level, offload, [&mut cpu, &mut npu], &tokens)?;
    loads(kit, level, offload)?;
    say("a sustained run");
    let curve = sustain(&mut npu, &tokens[..longest.min(512)], sustained)?;
    level.series.push(curve);
    if let Some(peak) = process_memory(None).peak {
        let title = Text::new("peak of the host's memory", "호스트 메모리 최댓값");
        level.tell("performance.memory.host", title, peak as f64 / 1e6, "MB");
    }
    let staging = npu.model().memory(&kit.options(longest))?;
    let title = Text::new("arena and cache of a session", "세션의 작업 메모리와 캐시");
    level.tell(
        "performance.memory.session",
        title,
        staging.total as f64 / 1e6,
        "MB",
    );
    Ok(())
}

/// Seconds of all runs, in milliseconds.
fn spread_ms(seconds: &[f64]) -> Option<Spread> {
    let ms: Vec<f64> = seconds.iter().map(|seconds| seconds * 1e3).collect();
    Spread::of(&ms)
}

fn first_token(session: &mut Session, tokens: &[u32]) -> Result<f64> {
    session.clear();
    let began = Instant::now();
    session.prefill(tokens, &CancelToken::new())?;
    Ok(began.elapsed().as_secs_f64())
}

/// A device that is slower than the CPU gains nothing, and the report says so.
fn ratio(level: &mut Level, id: &str, title: Text, ratio: f64) {
    let gate = level.tell(id, title, ratio, "×");
    if ratio < 1.0 {
        gate.verdict = Verdict::Partial;
        gate.note = "slower than the CPU".to_owned();
    }
}

/// Tokens one by one, on the CPU and on the device in alternation. A device without
/// programs for decode has no figures: it does not decode.
fn decode(
    level: &mut Level,
    offload: &Offload,
    [cpu, npu]: [&mut Session; 2],
    tokens: &[u32],
) -> Result<()> {
    cpu.clear();
    npu.clear();
    let decodes = offload.report().work.decode > 0.0;
    let (mut of_cpu, mut of_npu) = (Vec::new(), Vec::new());
    for &token in &tokens[..DECODED.min(tokens.len())] {
        of_cpu.push(one_token(cpu, token)?);
        if decodes {
            of_npu.push(one_token(npu, token)?);
        }
    }
    let lanes = [("cpu", "CPU", &of_cpu), ("device", "장치", &of_npu)];
    for (who, ko, times) in lanes.into_iter().filter(|(.., times)| !times.is_empty()) {
        for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            let title = Text::new(
                format!("a decoded token, {who}, {name}"),
                format!("토큰 생성 시간, {ko}, {name}"),
            );
            let id = format!("performance.decode.{who}.{name}");
            let gate = level.tell(&id, title, percentile(times, share) * 1e3, "ms");
            gate.spread = spread_ms(times);
        }
    }
    let title = Text::new(
        "the device's decode speed divided by the CPU's",
        "장치/CPU 토큰 생성 속도비",
    );
    match decodes {
        true => {
            let [cpu, npu] = [of_cpu, of_npu].map(|times| percentile(&times, 0.5));
            ratio(level, "performance.decode.ratio", title, cpu / npu);
        }
        false => level.not_measured(
            "performance.decode.ratio",
            title,
            "the device has no programs of one row: the CPU decodes",
        ),
    }
    Ok(())
}

/// Seconds of one decoded token.
fn one_token(session: &mut Session, token: u32) -> Result<f64> {
    let began = Instant::now();
    session.decode(token)?;
    Ok(began.elapsed().as_secs_f64())
}

/// The time until the device is ready: with compiling, and with stored programs.
fn loads(kit: &Kit, level: &mut Level, offload: &Offload) -> Result<()> {
    let title = Text::new("time to compile", "최초 컴파일 시간");
    level.tell(
        "performance.load.cold",
        title,
        offload.report().time.as_secs_f64(),
        "s",
    );
    let options = OffloadOptions {
        cache: Some(kit.setup.scratch.clone()),
        ..kit.offload_options()
    };
    kit.compile(&options)?;
    let warm = kit.compile(&options)?;
    let title = Text::new("time to load stored programs", "저장된 프로그램 적재 시간");
    level.tell(
        "performance.load.warm",
        title,
        warm.report().time.as_secs_f64(),
        "s",
    );
    Ok(())
}

/// Tokens per second over time, for devices that slow down when they get hot.
fn sustain(session: &mut Session, tokens: &[u32], time: Duration) -> Result<Series> {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < time {
        let seconds = first_token(session, tokens)?;
        x.push(began.elapsed().as_secs_f64());
        y.push(tokens.len() as f64 / seconds);
    }
    Ok(Series {
        title: Text::new("a sustained run", "지속 실행"),
        x_label: Text::new("seconds", "초"),
        y_label: Text::new("prompt tokens a second", "초당 프롬프트 토큰"),
        x,
        y,
        limit: None,
        logarithmic: false,
    })
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;
    use crate::report::{Name, Verdict};
    use crate::{Setup, report::Submission, samples};
    use ondol::Model;
    use ondol_tests::softnpu;

    /// The measurements are all there and are numbers. Those of a stub are thrown
    /// away: `run` never makes them.
    #[test]
    fn every_measurement_is_made() {
        let setup = Setup {
            plugin: softnpu::plugin(),
            device: 0,
            files: Vec::new(),
            model_name: "hello".to_owned(),
            levels: Vec::new(),
            texts: samples(),
            tokens: 64,
            rows: 16,
            seed: 1,
            soak: 100,
            deadline: Duration::from_secs(5),
            threads: Some(1),
            scratch: std::env::temp_dir().join(format!("ondol-times-{}", std::process::id())),
            place: crate::Place::Here,
            meter: None,
            submission: Submission::default(),
            waivers: Vec::new(),
            command: Vec::new(),
        };
        let model = Model::hello().unwrap();
        let kit = Kit::new(&setup, &model).unwrap();
        let offload = kit.offload.as_ref().unwrap();
        let mut level = Level::new(Name::Performance);
        let time = Duration::from_millis(200);
        measure(&kit, offload, &mut level, time, &mut |_| ()).unwrap();
        std::fs::remove_dir_all(&setup.scratch).unwrap();
        let ids: Vec<&str> = level.gates.iter().map(|gate| gate.id.as_str()).collect();
        for part in [
            "ttft-128.device",
            "ttft-128.cpu",
            "decode.device.p99",
            "decode.cpu.p99",
            "load.warm",
            "memory.session",
        ] {
            assert!(
                ids.contains(&format!("performance.{part}").as_str()),
                "{part}: {ids:?}"
            );
        }
        // softnpu is slower than the CPU.
        let told = |gate: &crate::report::Gate| {
            let is_ratio = gate.id.ends_with(".ratio");
            let verdict = if is_ratio {
                Verdict::Partial
            } else {
                Verdict::NotMeasured
            };
            gate.verdict == verdict && gate.found.is_some_and(|x| x > 0.0)
        };
        assert!(level.gates.iter().all(told), "{:#?}", level.gates);
        assert!(level.series[0].y.iter().all(|speed| *speed > 0.0));
    }
}

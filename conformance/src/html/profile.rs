//! Profiles as pages: the same frame, languages and forms as the report's.

use super::text::{Pair, both, code, count, number, pair, shell, told};
use super::{
    Origin, device_facts, document, fact, facts, host_facts, model_facts, section, slots, table,
};
use crate::profile::grid::{COLUMNS, DEFINITIONS, Grid, Value, rows};
use crate::profile::mobile::Mobile;
use crate::profile::tasks::{Instructions, Kind, Score};
use crate::profile::{Joules, Measured, Metered, SCHEMA, Setting};
use crate::report::Text;
use crate::spread::Spread;

/// The page of a grid.
pub fn grid_page(grid: &Grid) -> String {
    let title = (
        "Performance by precision and length",
        "정밀도와 입출력 길이별 성능",
    );
    let value = |value: &Value| match value {
        Value::Text(text) => told(text),
        Value::Number(value) => number(value.unwrap_or(f64::NAN)),
    };
    let cells = rows(grid).into_iter();
    let cells = cells.map(|row| row.iter().map(value).collect());
    let measured = format!(
        "<p>{}</p>\n{}",
        both(DEFINITIONS),
        table("numbers", &COLUMNS, cells)
    );
    let body = [
        top(title, &grid.notice, &grid.setting, ""),
        section(("Measurements", "측정 결과"), &measured),
        section(("Energy", "에너지"), &meter(grid.meter.as_ref())),
        appendix(&grid.setting, &grid.models),
    ];
    document("Ondol · K-Perf", &body.concat())
}

/// The page of a run by MLPerf Mobile's rules.
pub fn mobile_page(mobile: &Mobile) -> String {
    let title = (
        "Single stream after the run rules of MLPerf Mobile",
        "MLPerf Mobile 실행 규칙에 따른 단일 스트림 시험",
    );
    let body = [
        top(title, &mobile.notice, &mobile.setting, &rules(mobile)),
        section(("Latency", "지연 시간"), &latency(mobile)),
        section(("Accuracy", "정확도"), &accuracy(&mobile.tasks)),
        section(
            ("Energy", "에너지"),
            &(meter(mobile.meter.as_ref()) + &energy(mobile.joules.as_ref())),
        ),
        appendix(&mobile.setting, std::slice::from_ref(&mobile.model)),
    ];
    document("Ondol · MLPerf Mobile run rules", &body.concat())
}

/// The head of a page, with lines for what is written by hand.
fn top(title: Pair, notice: &Text, setting: &Setting, verdict: &str) -> String {
    let device = setting.device.as_ref();
    let device = device.map_or_else(
        || told(&setting.host.cpu),
        |device| told(&format!("{} {}", device.vendor, device.device)),
    );
    let measured = facts(&[
        fact("Computed on", "연산 장치", device),
        fact(
            "Date (Korea)",
            "시험 일시(한국 표준시)",
            told(&setting.created),
        ),
    ]);
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"warning\" role=\"note\">{}</p>\n{verdict}{}{measured}</header>\n",
        both(title),
        both(pair(notice)),
        slots(&setting.submission)
    )
}

/// Whether a run kept the rules, and how not.
fn rules(mobile: &Mobile) -> String {
    let (class, words) = match mobile.departures.is_empty() {
        true => (
            "pass",
            ("The run rules were kept.", "실행 규칙을 지켰습니다."),
        ),
        false => (
            "fail",
            (
                "The run rules were not kept: this result does not conform.",
                "실행 규칙을 지키지 않았으므로 규칙에 부합하지 않는 결과입니다.",
            ),
        ),
    };
    let item = |text| format!("<li>{}</li>\n", both(pair(text)));
    let items: String = mobile.departures.iter().map(item).collect();
    let list = match items.is_empty() {
        true => String::new(),
        false => format!("<ul>\n{items}</ul>\n"),
    };
    let words = both(words);
    format!("<div class=\"verdict {class}\">\n<p><strong>{words}</strong></p>\n{list}</div>\n")
}

fn latency(mobile: &Mobile) -> String {
    let ambient = mobile.ambient.unwrap_or(f64::NAN);
    let run = facts(&[
        fact(
            "Result: 90th percentile of the latency (ms)",
            "결과: 지연 시간 90번째 백분위수(ms)",
            number(mobile.latency_ms.p90),
        ),
        fact("Queries", "질의 수", count(mobile.queries)),
        fact("Duration (s)", "실행 시간(초)", number(mobile.seconds)),
        fact(
            "Tokens of a prompt and of its answer",
            "프롬프트·응답 토큰 수",
            format!("{} + {}", count(mobile.input), count(mobile.output)),
        ),
        fact(
            "Temperature of the room (°C), as stated",
            "실내 온도(°C, 시험 담당자 기재)",
            number(ambient),
        ),
    ]);
    let spreads = [
        (("Latency (ms)", "지연 시간(ms)"), Some(mobile.latency_ms)),
        (
            ("Time to the first token (ms)", "첫 토큰까지의 시간(ms)"),
            Some(mobile.ttft_ms),
        ),
        (
            ("Time per further token (ms)", "이후 토큰당 시간(ms)"),
            mobile.tpot_ms,
        ),
    ];
    let heads = [
        ("Quantity", "항목"),
        ("Mean", "평균"),
        ("Standard deviation", "표준편차"),
        ("Least", "최소"),
        ("p50", "p50"),
        ("p90", "p90"),
        ("p99", "p99"),
        ("Most", "최대"),
    ];
    let rows = spreads
        .into_iter()
        .filter_map(|(name, spread)| Some(spread_row(name, spread?)));
    run + &table("numbers", &heads, rows)
}

fn spread_row(name: Pair, s: Spread) -> Vec<String> {
    let figures = [s.mean, s.deviation, s.min, s.p50, s.p90, s.p99, s.max];
    let mut row = vec![both(name)];
    row.extend(figures.map(number));
    row
}

fn accuracy(tasks: &[Score]) -> String {
    let nothing = ("Not measured.", "측정하지 않았습니다.");
    if tasks.is_empty() {
        return format!("<p>{}</p>\n", both(nothing));
    }
    let heads = [
        ("Set", "평가 세트"),
        ("Items", "문항 수"),
        ("Judged", "채점 수"),
        ("Right", "정답 수"),
        ("Accuracy (%)", "정확도(%)"),
        ("Instructions followed", "지시 이행"),
        ("Instructions not judged", "채점하지 않은 지시"),
        ("SHA-256 of the file", "파일 SHA-256"),
    ];
    let method = (
        "Choices: zero-shot, by the log-likelihood of the letter. Instructions: judged strictly, by \
         program; those that no program here verifies are not judged, and never count as followed.",
        "객관식: 예시 없이(zero-shot) 선택지 문자의 로그우도로 고릅니다. 지시 이행: 프로그램으로 \
         엄격하게 채점하며, 검증할 수 없는 지시는 채점하지 않고 이행한 것으로 세지도 않습니다.",
    );
    let rows = tasks.iter().map(score_row);
    format!(
        "<p>{}</p>\n{}",
        both(method),
        table("numbers", &heads, rows)
    )
}

fn score_row(score: &Score) -> Vec<String> {
    let name = match score.kind {
        Kind::Mmlu => "MMLU",
        Kind::Kmmlu => "KMMLU",
        Kind::Ifeval => "IFEval",
        Kind::KoIfeval => "Ko-IFEval",
    };
    let instructions = score.instructions.as_ref();
    let of =
        |show: fn(&Instructions) -> String| instructions.map_or_else(|| number(f64::NAN), show);
    vec![
        told(name),
        count(score.items),
        count(score.judged),
        count(score.right),
        // If nothing was judged, there is no share.
        number(match score.judged {
            0 => f64::NAN,
            _ => score.accuracy * 100.0,
        }),
        of(|all| format!("{} / {}", count(all.followed), count(all.judged))),
        of(|all| {
            format!(
                "{} {}",
                count(all.not_judged),
                told(&all.unknown.join(", "))
            )
        }),
        code(&score.sha256),
    ]
}

fn meter(meter: Option<&Metered>) -> String {
    let Some(meter) = meter else {
        let none = (
            "Not measured: there was no meter, or its log could not be used.",
            "측정하지 않음: 계측기가 없거나 계측 기록을 사용할 수 없었습니다.",
        );
        return format!("<p>{}</p>\n", both(none));
    };
    let subtracted = (
        "What the machine drew idle, before the run, is subtracted. Work that is too short for the \
         meter has no figure.",
        "실행 전에 측정한 유휴 소비 전력을 뺀 값입니다. 계측 간격에 비해 너무 짧은 작업은 값을 \
         적지 않습니다.",
    );
    let facts = facts(&[
        fact("Meter", "계측기", told(&meter.name)),
        fact("Idle (W)", "유휴 전력(W)", number(meter.idle_watts)),
        fact(
            "Seconds of idleness",
            "유휴 측정 시간(초)",
            number(meter.idle_seconds),
        ),
    ]);
    format!("<p>{}</p>\n{facts}", both(subtracted))
}

fn energy(joules: Option<&Joules>) -> String {
    let Some(joules) = joules else {
        return String::new();
    };
    let show = |joules: Option<f64>| number(joules.unwrap_or(f64::NAN));
    facts(&[
        fact(
            "Prefill (J per token)",
            "프리필(J/토큰)",
            show(joules.prefill),
        ),
        fact(
            "Decode (J per token)",
            "디코드(J/토큰)",
            show(joules.decode),
        ),
        fact(
            "Both (J per token of the answer)",
            "전체(J/출력 토큰)",
            show(joules.whole),
        ),
    ])
}

/// The data needed to repeat the run.
fn appendix(setting: &Setting, models: &[Measured]) -> String {
    let origin = Origin {
        host: &setting.host,
        ondol: &setting.ondol,
        commit: &setting.commit,
        program_sha256: &setting.program_sha256,
        schema: SCHEMA,
    };
    let part = |heading, body: &str| format!("<h3>{}</h3>\n{body}", both(heading));
    let device = setting.device.as_ref().map(|device| {
        let heading = (
            "Device, in its plug-in's words",
            "장치(플러그인이 밝힌 내용)",
        );
        part(heading, &device_facts(device))
    });
    let models = models
        .iter()
        .map(|measured| part(("Model", "모델"), &model_facts(&measured.model)));
    let body = [
        part(("Host", "호스트"), &facts(&[host_facts(&origin)])),
        device.unwrap_or_default(),
        models.collect(),
        part(
            ("Command line", "실행 명령"),
            &format!("<pre>{}</pre>\n", code(&shell(&setting.command))),
        ),
    ];
    section(("Appendix", "부록"), &body.concat())
}

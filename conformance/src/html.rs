//! The report as one HTML page in Korean and English, without scripts and external
//! files. It measures nothing, and its verdict is never better than the report's.

mod notes;
mod plot;
pub mod profile;
mod text;
mod words;

use crate::report::{
    Conclusion, Device, Format, Gate, Hashed, Host, Level, Losses, Model, Name, Offload, Report,
    Submission,
};
use crate::spread::Spread;
use text::{Pair, both, bytes, code, count, distinct, number, pair, shell, told};
use words::Outcome;

/// A label that is repeated where numbers of an emulator or stub could be mistaken for
/// a device's.
const FIGURES: [Name; 2] = [Name::Performance, Name::Energy];

/// The whole page.
pub fn page(report: &Report) -> String {
    let title = text::escape(&format!(
        "Ondol 적합성 시험 보고서 · Conformance report: {} {}",
        report.device.vendor, report.device.device
    ));
    let body = [
        top(report),
        exceptions(report),
        summary(report),
        format_losses(report.format.as_ref()),
        offload(report.offload.as_ref()),
        levels(report),
        appendix(report),
    ];
    document(&title, &body.concat())
}

/// A page with a title, which is escaped, and a body in both languages.
fn document(title: &str, body: &str) -> String {
    // The radio buttons stand before `main`, so that CSS alone can switch the
    // language. The policy forbids what escaping should already have prevented.
    format!(
        "<!DOCTYPE html>\n<html lang=\"ko\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         <input type=\"radio\" name=\"language\" id=\"ko\" checked>\
         <label for=\"ko\" lang=\"ko\">한국어</label>\n\
         <input type=\"radio\" name=\"language\" id=\"en\">\
         <label for=\"en\" lang=\"en\">English</label>\n<main>\n{body}</main>\n</body>\n</html>\n",
        include_str!("html/style.css"),
    )
}

/// The head of the page: the verdict, device and model.
fn top(report: &Report) -> String {
    let outcome = conclusion(report);
    let device = &report.device;
    format!(
        "<header>\n<h1>{}</h1>\n<div class=\"verdict {}\">\n<p><strong>{}</strong> \
         <span class=\"label\">{}</span></p>\n<p>{}</p>\n{}<p>{}</p>\n<p>{}</p>\n</div>\n{}{}{}</header>\n",
        both((
            "Conformance report of an NPU delegate",
            "NPU 델리게이트 적합성 시험 보고서"
        )),
        outcome.class(),
        mark(outcome),
        kind(device),
        both(outcome.sentence()),
        reasons(report),
        format_sentence(report.format.as_ref()),
        tally(report),
        warning(device),
        slots(&report.submission),
        facts(&[
            fact(
                "Device",
                "장치",
                told(&format!("{} {}", device.vendor, device.device))
            ),
            fact("Kind of device", "장치 구분", kind(device)),
            fact("Model", "모델", told(&report.model.name)),
            fact(
                "Runs on the device",
                "장치 실행 비율",
                shares(report.offload.as_ref())
            ),
            fact(
                "Date (Korea)",
                "시험 일시(한국 표준시)",
                told(&report.created)
            ),
        ])
    )
}

/// Never better than the report's own conclusion, and never better than its gates.
fn conclusion(report: &Report) -> Outcome {
    let gates = words::conclusion(report.levels.iter().flat_map(|level| &level.gates));
    match (report.conclusion, gates) {
        (Conclusion::Fail, _) => Outcome::Fail,
        (Conclusion::Partial, Outcome::Pass) => Outcome::Partial,
        _ => gates,
    }
}

/// Why the conclusion is partial.
fn reasons(report: &Report) -> String {
    let item = |text| format!("<li>{}</li>\n", both(pair(text)));
    let items: String = report.partial.iter().map(item).collect();
    match items.is_empty() {
        true => String::new(),
        false => format!("<ul>\n{items}</ul>\n"),
    }
}

/// What the operator stated, and lines to fill in by hand.
fn slots(submission: &Submission) -> String {
    let line = |stated: &str| match stated.is_empty() {
        true => "<span class=\"slot\"></span>".to_owned(),
        false => told(stated),
    };
    facts(&[
        fact("Applicant", "신청 기관", line(&submission.applicant)),
        fact("Tester", "시험 담당자", line(&submission.tester)),
        fact(
            "Serial number of the device",
            "장치 일련번호",
            line(&submission.serial),
        ),
    ])
}

/// The shares of the four stages, in a line.
fn shares(offload: Option<&Offload>) -> String {
    let Some(offload) = offload else {
        return format!("{} %", number(0.0));
    };
    let work = offload.work;
    let stages = [
        (("prefill", "프리필"), work.prefill),
        (("decode", "디코드"), work.decode),
        (("attention", "어텐션"), work.attention),
        (("output head", "출력층"), work.head),
    ];
    let stage = |(name, share)| format!("{} {} %", both(name), percent(share));
    stages.map(stage).join(" · ")
}

/// The number of gates with each outcome, in a line.
fn tally(report: &Report) -> String {
    let of = |outcome| {
        let levels = report.levels.iter();
        let gates: usize = levels.map(|level| words::count_of(level, outcome)).sum();
        format!("{} {}", mark(outcome), count(gates))
    };
    Outcome::ALL.map(of).join(" · ")
}

fn kind(device: &Device) -> String {
    both(words::label(&device.label))
}

/// Empty for hardware.
fn warning(device: &Device) -> String {
    if device.label == words::HARDWARE {
        return String::new();
    }
    let (en, ko) = words::label(&device.label);
    let en = format!(
        "Warning: what was tested here is not hardware but a stand-in. Kind of device: {en}. This \
         report is no evidence of any hardware's performance; the timings, memory and energy of a \
         stand-in are not performance."
    );
    let ko = format!(
        "주의: 이 보고서의 시험 대상은 실제 하드웨어가 아닌 대체 장치입니다. 장치 구분: {ko}. 이 \
         보고서는 하드웨어 성능의 근거가 될 수 없으며, 대체 장치에서 얻은 시간·메모리·에너지 \
         수치는 성능이 아닙니다."
    );
    format!(
        "<p class=\"warning\" role=\"note\"><span aria-hidden=\"true\">⚠</span> {}</p>\n",
        both((&en, &ko))
    )
}

/// Failed and waived gates.
fn exceptions(report: &Report) -> String {
    let mut items = String::new();
    for (l, level) in report.levels.iter().enumerate() {
        for (g, gate) in level.gates.iter().enumerate() {
            let outcome = words::outcome(gate);
            if matches!(outcome, Outcome::Fail | Outcome::Waived | Outcome::Partial) {
                items += &format!(
                    "<li>{} <a href=\"#gate-{l}-{g}\">{}</a> {}{}</li>\n",
                    mark(outcome),
                    both(pair(&gate.title)),
                    code(&gate.id),
                    note(gate)
                );
            }
        }
    }
    if items.is_empty() {
        return items;
    }
    let heading = both(("Failed, waived or partial", "불합격·면제·부분 충족 항목"));
    format!("<section>\n<h2>{heading}</h2>\n<ul class=\"exceptions\">\n{items}</ul>\n</section>\n")
}

/// The levels and their counts; also those that were not run.
fn summary(report: &Report) -> String {
    let ran = report.levels.iter().enumerate();
    let mut rows: Vec<Vec<String>> = ran.map(|(at, level)| summary_row(at, level)).collect();
    for name in Name::ALL {
        if report.levels.iter().all(|level| level.name != name) {
            let mut row = vec![text::NONE.to_string(); Outcome::ALL.len() + 3];
            row[0] = both(words::level(name));
            row[1] = both(("Not run", "시험하지 않음"));
            rows.push(row);
        }
    }
    let counts = Outcome::ALL.map(Outcome::words);
    let heads = [
        &[("Level", "단계"), ("Verdict", "판정")],
        &counts[..],
        &[("Seconds", "소요 시간(초)")],
    ];
    section(
        ("Summary of levels", "단계별 요약"),
        &table("numbers", &heads.concat(), rows),
    )
}

fn summary_row(at: usize, level: &Level) -> Vec<String> {
    let name = both(words::level(level.name));
    let verdict = mark(words::conclusion(&level.gates));
    let counts = Outcome::ALL.map(|outcome| count(words::count_of(level, outcome)));
    let mut row = vec![format!("<a href=\"#level-{at}\">{name}</a>"), verdict];
    row.extend(counts);
    row.push(number(level.seconds));
    row
}

/// What the format loses, in a sentence that is no verdict on the device.
fn format_sentence(format: Option<&Format>) -> String {
    both(match format {
        Some(format) if format.passed => (
            "Format: what the weights and the arithmetic lose is within the limits.",
            "형식: 가중치 형식과 연산 정밀도에 따른 손실이 기준 이내입니다.",
        ),
        Some(_) => (
            "Format: the weights and the arithmetic of this device lose more than the limits. That \
             is not an error of the device.",
            "형식: 이 장치의 가중치 형식과 연산 정밀도에 따른 손실이 기준을 넘습니다. 계산 오류는 \
             아닙니다.",
        ),
        None => ("Format: not measured.", "형식: 측정하지 않았습니다."),
    })
}

/// What the forms of weights and the arithmetic lose, text by text.
fn format_losses(format: Option<&Format>) -> String {
    let Some(format) = format else {
        return String::new();
    };
    let of = |text: &str, what: Pair, losses: &Losses| {
        vec![
            told(text),
            both(what),
            count(losses.tokens),
            number(losses.mean_kl),
            number(losses.p99_kl),
            format!("{} %", percent(losses.top1)),
        ]
    };
    let limits = Format::LIMITS;
    let rows = format.texts.iter().flat_map(|text| {
        [
            of(&text.name, ("weights alone", "가중치만"), &text.weights),
            of(
                &text.name,
                ("weights and arithmetic", "가중치와 연산 정밀도"),
                &text.all,
            ),
            of(
                &text.name,
                ("the CPU's fast kernels", "CPU 고속 커널"),
                &text.cpu,
            ),
        ]
    });
    let heads = [
        ("Text", "글"),
        ("Loss of", "손실 요인"),
        ("Tokens", "토큰 수"),
        ("Mean KL, nats", "평균 KL (nats)"),
        ("99th percentile of KL", "KL의 99번째 백분위수"),
        (
            "Same likeliest token, near ties counted as same",
            "최우선 토큰 일치율(근소한 차이는 일치로 봄)",
        ),
    ];
    let limit = both((
        &format!(
            "Limits for weights and arithmetic together: {}, {} and {} %.",
            number(limits.mean_kl),
            number(limits.p99_kl),
            percent(limits.top1)
        ),
        &format!(
            "가중치와 연산 정밀도를 합한 기준: {}, {}, {} %.",
            number(limits.mean_kl),
            number(limits.p99_kl),
            percent(limits.top1)
        ),
    ));
    section(
        (
            "What the format loses against the file",
            "형식에 따른 손실(원본 파일 대비)",
        ),
        &format!(
            "<p>{}</p>\n<p>{limit}</p>\n{}",
            format_sentence(Some(format)),
            table("numbers", &heads, rows)
        ),
    )
}

/// The parts that run on the device, and those that do not.
fn offload(offload: Option<&Offload>) -> String {
    let heading = ("What runs on the device", "장치에서 실행되는 부분");
    let Some(offload) = offload else {
        let nothing = both((
            "Nothing: the device took no part of this model.",
            "없음: 장치가 이 모델의 어떤 부분도 맡지 않았습니다.",
        ));
        return section(heading, &format!("<p>{nothing}</p>\n"));
    };
    let spans = offload.spans.iter().map(|span| {
        vec![
            told(&span.name),
            count(span.nodes),
            count(span.matmuls),
            count(span.multiply_adds),
        ]
    });
    let on_cpu = offload.withheld.iter().chain(&offload.refused);
    let on_cpu = on_cpu.map(|part| {
        vec![
            translated(&part.reason, &notes::note(&part.reason)),
            count(part.nodes),
            count(part.multiply_adds),
        ]
    });
    let weights = offload.weights.iter().map(|weights| {
        vec![
            form(&weights.form),
            count(weights.count),
            number(weights.worst_loss),
        ]
    });
    let body = [
        offload_facts(offload),
        table(
            "numbers",
            &[
                ("Span of the model", "모델 구간"),
                ("Operations", "연산 수"),
                ("Matmuls", "행렬곱 수"),
                ("Multiply-adds per token", "토큰당 곱셈-누산 수"),
            ],
            spans,
        ),
        table(
            "numbers",
            &[
                ("Stays on the CPU because", "CPU에서 실행하는 사유"),
                ("Operations", "연산 수"),
                ("Multiply-adds per token", "토큰당 곱셈-누산 수"),
            ],
            on_cpu,
        ),
        table(
            "numbers",
            &[
                ("Form of weights", "가중치 형식"),
                ("Weights", "가중치 개수"),
                (
                    "Largest loss (share of a weight's energy, beside the file's own rounding)",
                    "최대 손실(가중치 에너지 대비 비율, 파일 자체의 양자화 오차 제외)",
                ),
            ],
            weights,
        ),
    ];
    section(heading, &body.concat())
}

fn offload_facts(offload: &Offload) -> String {
    facts(&[
        fact(
            "Share of the multiply-adds, by stage",
            "단계별 곱셈-누산 중 장치 실행 비율",
            shares(Some(offload)),
        ),
        fact(
            "Tokens of one call of prefill",
            "프리필 1회당 토큰 수",
            count(offload.rows),
        ),
        fact("Programs", "프로그램 수", count(offload.programs)),
        fact(
            "Of these compiled before",
            "이 중 미리 컴파일된 것",
            count(offload.from_cache),
        ),
        fact(
            "Seconds to choose, claim and compile",
            "선정·할당·컴파일 시간(초)",
            number(offload.compile_seconds),
        ),
    ])
}

/// Every level with its gates and curves.
fn levels(report: &Report) -> String {
    let levels = report.levels.iter().enumerate();
    let sections = levels.map(|(at, level)| {
        let caution = match FIGURES.contains(&level.name) {
            true => warning(&report.device),
            false => String::new(),
        };
        let plots = level.series.iter().enumerate();
        let plots = plots.map(|(s, series)| plot::figure(series, &format!("plot-{at}-{s}")));
        format!(
            "<section id=\"level-{at}\">\n<h2>{} {}</h2>\n<p>{}</p>\n{caution}{}\
             <div class=\"plots\">\n{}</div>\n</section>\n",
            both(words::level(level.name)),
            mark(words::conclusion(&level.gates)),
            both(words::meaning(level.name)),
            gates(at, &level.gates),
            plots.collect::<String>()
        )
    });
    sections.collect()
}

fn gates(level: usize, gates: &[Gate]) -> String {
    let rows = gates.iter().enumerate().map(|(at, gate)| {
        let (found, limit) = found_and_limit(gate);
        let title = format!(
            "<span id=\"gate-{level}-{at}\">{}</span> {}{}{}",
            both(pair(&gate.title)),
            code(&gate.id),
            runs(gate.spread.as_ref()),
            note(gate)
        );
        let verdict = mark(words::outcome(gate));
        vec![title, found, limit, told(&gate.unit), verdict]
    });
    table(
        "gates",
        &[
            ("Gate", "항목"),
            ("Found", "측정값"),
            ("Limit", "기준"),
            ("Unit", "단위"),
            ("Verdict", "판정"),
        ],
        rows,
    )
}

/// Formats a number with enough digits to show on which side of its limit it is.
fn found_and_limit(gate: &Gate) -> (String, String) {
    let [found, limit] = [gate.found, gate.limit].map(|value| value.unwrap_or(f64::NAN));
    let [found, limit] = distinct([found, limit]);
    let sign = if gate.at_least { "≥" } else { "≤" };
    match gate.limit {
        Some(_) => (found, format!("{sign}&nbsp;{limit}")),
        None => (found, limit),
    }
}

/// How far the runs of a measurement lie apart.
fn runs(spread: Option<&Spread>) -> String {
    let Some(spread) = spread else {
        return String::new();
    };
    let [min, max] = distinct([spread.min, spread.max]);
    let (runs, deviation) = (count(spread.runs), number(spread.deviation));
    let words = both((
        &format!("{runs} runs, {min} to {max}, standard deviation {deviation}"),
        &format!("{runs}회 측정, {min}~{max}, 표준편차 {deviation}"),
    ));
    format!("<p class=\"note\">{words}</p>")
}

fn note(gate: &Gate) -> String {
    match gate.note.is_empty() {
        true => String::new(),
        false => {
            let ko = notes::note(&gate.note);
            format!("<p class=\"note\">{}</p>", translated(&gate.note, &ko))
        }
    }
}

/// What was written in English, with its Korean form if there is one.
fn translated(english: &str, ko: &str) -> String {
    match english == ko {
        true => told(english),
        false => both((english, ko)),
    }
}

/// A form of weights or an arithmetic.
fn form(english: &str) -> String {
    translated(english, &notes::form(english))
}

/// The data needed to repeat the run.
fn appendix(report: &Report) -> String {
    let origin = Origin {
        host: &report.host,
        ondol: &report.ondol,
        commit: &report.commit,
        program_sha256: &report.program_sha256,
        schema: report.schema,
    };
    let seed = fact(
        "Seed of the run",
        "시험 시드",
        code(&report.seed.to_string()),
    );
    let host = facts(&[host_facts(&origin), seed]);
    let (device, model) = (&report.device, model_facts(&report.model));
    let part = |heading, body: &str| format!("<h3>{}</h3>\n{body}", both(heading));
    let body = [
        part(("Host", "호스트"), &host),
        part(
            (
                "Device, in its plug-in's words",
                "장치(플러그인이 밝힌 내용)",
            ),
            &device_facts(device),
        ),
        part(("Model", "모델"), &model),
        part(("Texts", "비교에 쓴 글"), &hashes(&report.texts)),
        part(
            ("Command line", "실행 명령"),
            &format!("<pre>{}</pre>\n", code(&shell(&report.command))),
        ),
    ];
    section(("Appendix", "부록"), &body.concat())
}

/// The machine and the program of a run.
struct Origin<'r> {
    host: &'r Host,
    ondol: &'r str,
    commit: &'r str,
    program_sha256: &'r str,
    schema: u32,
}

/// Rows of a table of facts.
fn host_facts(origin: &Origin) -> String {
    let host = origin.host;
    [
        fact("CPU", "CPU", told(&host.cpu)),
        fact("Threads", "스레드 수", count(host.threads)),
        fact("Kernels", "연산 커널", told(&host.kernels)),
        fact("System", "운영체제", told(&host.system)),
        fact(
            "Release of its kernel",
            "운영체제 커널",
            told(&host.os_kernel),
        ),
        fact("Memory", "메모리", bytes(host.memory)),
        fact(
            "Frequency governor",
            "주파수 조절 정책",
            told(&host.governor),
        ),
        fact("Version of Ondol", "Ondol 버전", told(origin.ondol)),
        fact("Commit of Ondol", "Ondol 커밋", code(origin.commit)),
        fact(
            "SHA-256 of the program",
            "프로그램 SHA-256",
            code(origin.program_sha256),
        ),
        fact(
            "Version of the report's layout",
            "보고서 형식 버전",
            count(origin.schema),
        ),
    ]
    .concat()
}

fn model_facts(model: &Model) -> String {
    let hashes: Vec<String> = model.sha256.iter().map(|hash| code(hash)).collect();
    facts(&[
        fact("Name", "이름", told(&model.name)),
        fact(
            "Title in its file",
            "파일에 기재된 이름",
            told(&model.title),
        ),
        fact("Architecture", "구조", told(&model.architecture)),
        fact("Size", "크기", bytes(model.bytes)),
        fact(
            "SHA-256 of its files",
            "파일별 SHA-256",
            hashes.join("<br>"),
        ),
    ])
}

/// Names with their hashes.
fn hashes(files: &[Hashed]) -> String {
    let row = |file: &Hashed| vec![told(&file.name), code(&file.sha256)];
    let heads = [("Name", "이름"), ("SHA-256", "SHA-256")];
    table("hashes", &heads, files.iter().map(row))
}

/// The device nodes that the plug-in's process holds.
fn nodes(device: &Device) -> String {
    match &device.nodes {
        None => both(("Not told by the system", "운영체제가 알려 주지 않음")),
        Some(nodes) if nodes.is_empty() => both(("None", "없음")),
        Some(nodes) => told(&nodes.join("; ")),
    }
}

fn device_facts(device: &Device) -> String {
    let rows: Vec<String> = device.rows.iter().map(count).collect();
    facts(&[
        fact("Vendor", "제조사", told(&device.vendor)),
        fact("Device", "장치", told(&device.device)),
        fact("Kind of device", "장치 구분", kind(device)),
        fact("Architecture", "아키텍처", told(&device.arch)),
        fact("Driver", "드라이버", told(&device.driver)),
        fact("Firmware", "펌웨어", told(&device.firmware)),
        fact(
            "A matmul rounds its inputs to",
            "행렬곱 입력의 반올림 형식",
            told(&device.activations),
        ),
        fact(
            "Sums and rounding",
            "누산과 반올림",
            form(&device.arithmetic),
        ),
        fact(
            "Forms of weights",
            "지원하는 가중치 형식",
            form(&device.weights.join("; ")),
        ),
        fact("Rows of its programs", "프로그램의 행 수", rows.join("; ")),
        fact("Plug-in", "플러그인", told(&device.plugin)),
        fact(
            "Version of the plug-in",
            "플러그인 버전",
            told(&device.plugin_version),
        ),
        fact(
            "Licence of the plug-in",
            "플러그인 라이선스",
            told(&device.plugin_licence),
        ),
        fact(
            "SHA-256 of the plug-in",
            "플러그인 SHA-256",
            code(&device.plugin_sha256),
        ),
        fact(
            "Device nodes that its process holds",
            "프로세스가 열어 둔 장치 노드",
            nodes(device),
        ),
    ]) + &hashes(&device.libraries)
}

/// A sign and a word, readable without colour.
fn mark(outcome: Outcome) -> String {
    format!(
        "<span class=\"mark {}\"><span aria-hidden=\"true\">{}</span> {}</span>",
        outcome.class(),
        outcome.sign(),
        both(outcome.words())
    )
}

/// A share in percent: never `100` for what is less.
fn percent(share: f64) -> String {
    let [share, _all] = distinct([share * 100.0, 100.0]);
    share
}

fn section(heading: Pair, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", both(heading))
}

/// A table of what [`fact`] makes.
fn facts(facts: &[String]) -> String {
    let facts = facts.concat();
    format!("<table class=\"facts\"><tbody>\n{facts}</tbody></table>\n")
}

/// A name and its value, which is HTML.
fn fact(en: &str, ko: &str, value: String) -> String {
    let name = both((en, ko));
    format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>\n")
}

/// The rows are HTML, their first cells are their heads.
fn table(class: &str, heads: &[Pair], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let cell = |cell: &String| format!("<td>{cell}</td>");
    let row = |row: Vec<String>| {
        let (head, cells) = row.split_first()?;
        let cells: String = cells.iter().map(cell).collect();
        Some(format!("<tr><th scope=\"row\">{head}</th>{cells}</tr>\n"))
    };
    let rows: String = rows.into_iter().filter_map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = |head: &Pair| format!("<th scope=\"col\">{}</th>", both(*head));
    let heads: String = heads.iter().map(head).collect();
    format!(
        "<div class=\"scroll\"><table class=\"{class}\">\n<thead><tr>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}

#[cfg(test)]
mod tests;

//! `ondol bench --profile`: the forms that a laboratory hands in, from measuring to the
//! signed zip.

mod common;

use common::{Said, folder, ondol, run};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn bench(home: &Path, args: &[&str]) -> Said {
    run(ondol(home).current_dir(home).arg("bench").args(args))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A small grid of `hello`.
const GRID: [&str; 13] = [
    "hello",
    "hello",
    "--profile",
    "k-perf",
    "-p",
    "8,16",
    "-n",
    "1,4",
    "-r",
    "3",
    "-t",
    "1",
    "--report",
];

/// Writes a log of an outside meter whose clock is `ahead` seconds ahead: 1000 W now, and
/// with every second 1 W more. So work draws more than the idleness before it by the
/// seconds between them, whenever they begin.
fn meter_log(home: &Path, ahead: f64, step: f64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let clock = now.as_secs_f64() + ahead;
    let mut log = "time,watts\n".to_owned();
    for i in 0..(600.0 / step) as usize {
        let since = i as f64 * step - 1.0;
        log += &format!("{:.4},{:.4}\n", clock + since, 1000.0 + since);
    }
    fs::write(home.join("meter.csv"), log).unwrap();
}

#[test]
fn a_grid_has_every_cell_in_every_form() {
    let home = folder("grid");
    let said = bench(&home, &[&GRID[..], &["forms"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let grid = json(&home.join("forms/k-perf.json"));
    let cells = grid["cells"].as_array().unwrap();
    let lengths: Vec<String> = cells
        .iter()
        .map(|cell| format!("{}+{}", cell["input"], cell["output"]))
        .collect();
    let once = ["8+1", "8+4", "16+1", "16+4"];
    assert_eq!(lengths, [once, once].concat());
    for cell in cells {
        let (ttft, speed) = (&cell["ttft_ms"], &cell["tokens_per_s"]);
        assert!(
            ttft["runs"] == 3 && ttft["p50"].as_f64().unwrap() > 0.0,
            "{cell}"
        );
        assert!(speed["min"].as_f64() <= speed["max"].as_f64(), "{cell}");
        assert_eq!(cell["tpot_ms"].is_null(), cell["output"] == 1, "{cell}");
    }
    assert!(
        grid["setting"]["created"]
            .as_str()
            .unwrap()
            .ends_with("+09:00")
    );
    let csv = fs::read_to_string(home.join("forms/k-perf.csv")).unwrap();
    assert_eq!(csv.lines().count(), 9);
    let fields = |line: &str| line.split(',').count();
    assert!(csv.lines().all(|line| fields(line) == 22), "{csv}");
    let page = fs::read_to_string(home.join("forms/k-perf.html")).unwrap();
    for text in [
        "K-Perf 공식 서식이나 인증서가 아닙니다",
        "신청 기관",
        "한국 표준시",
        "TTFT p90",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let sheet = sheet_texts(&home.join("forms/k-perf.xlsx"));
    for text in ["TPOT p99(ms)", "정한 것이며", "신청 기관", "hello"] {
        assert!(sheet.contains(text), "{text}");
    }
    // A second run replaces nothing unasked.
    let said = bench(&home, &[&GRID[..], &["forms"]].concat());
    assert!(
        said.code == 2 && said.err.contains("--force"),
        "{}",
        said.err
    );
}

/// The strings of a spreadsheet, which is a zip of XML.
fn sheet_texts(path: &Path) -> String {
    let mut zip = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut text = String::new();
    let mut strings = zip.by_name("xl/sharedStrings.xml").unwrap();
    strings.read_to_string(&mut text).unwrap();
    text
}

/// An outside meter's log is joined in, without the idle draw.
#[test]
fn a_meter_gives_joules() {
    let home = folder("meter");
    let began = Instant::now();
    meter_log(&home, 0.0, 0.002);
    let lengths = ["-p", "200", "-n", "200", "-r", "10", "-t", "1"];
    let forms = ["--report", "forms", "--meter", "meter.csv"];
    let args = [&["hello", "--profile", "k-perf"], &lengths[..], &forms].concat();
    let said = bench(&home, &args);
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(said.code, 0, "{}", said.err);
    let grid = json(&home.join("forms/k-perf.json"));
    // From the middle of the idleness, which lasts 5 s, to the middle of the work are 2.5 s
    // at least, and fewer than the command took.
    let idle = grid["meter"]["idle_watts"].as_f64().unwrap();
    assert!((1002.4..1000.0 + seconds).contains(&idle), "{idle}");
    let cell = &grid["cells"][0];
    let mean = |of: &str| cell[of]["mean"].as_f64().unwrap();
    let answer_seconds = (mean("ttft_ms") + mean("tpot_ms") * 199.0) / 1e3;
    let joules = |of: &str| cell["joules"][of].as_f64().unwrap();
    let watts = joules("whole") * 200.0 / answer_seconds;
    assert!((2.3..seconds).contains(&watts), "{watts} W: {cell}");
    let parts = joules("prefill") * 200.0 + joules("decode") * 199.0;
    assert!(
        (parts / (joules("whole") * 200.0) - 1.0).abs() < 1e-6,
        "{cell}"
    );
}

#[test]
fn a_meter_with_another_clock_is_an_error_after_the_forms_are_written() {
    let home = folder("clock");
    meter_log(&home, 9.0 * 3600.0, 1.0);
    let args = [&GRID[..], &["forms", "--meter", "meter.csv"]].concat();
    let said = bench(&home, &args);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("check the meter's clock"), "{}", said.err);
    let grid = json(&home.join("forms/k-perf.json"));
    assert!(grid["meter"].is_null() && grid["cells"][0]["joules"].is_null());
}

/// Questions and instructions of our own.
fn write_tasks(home: &Path) {
    let write = |name: &str, text: &str| fs::write(home.join(name), text).unwrap();
    write(
        "mmlu.csv",
        "\"What falls, cold and white?\",Sand,Snow,Smoke,Steam,B\nTwo and two?,1,2,3,4,D\n",
    );
    write(
        "kmmlu.csv",
        "question,answer,A,B,C,D\n온돌은 무엇을 데우나?,3,지붕,벽,바닥,창문\n",
    );
    write(
        "kmmlu.jsonl",
        "{\"question\":\"온돌은?\",\"answer\":1,\"A\":\"난방\",\"B\":\"냉방\",\"C\":\"조명\",\"D\":\"환기\"}\n",
    );
    write(
        "ifeval.jsonl",
        "{\"key\":1,\"prompt\":\"Say hello.\",\"instruction_id_list\":[\"length_constraints:number_words\",\"new:instruction\"],\"kwargs\":[{\"relation\":\"less than\",\"num_words\":100000},{}]}\n",
    );
    write(
        "ko.jsonl",
        "{\"key\":2,\"prompt\":\"인사하세요.\",\"instruction_id_list\":[\"startend:quotation\"],\"kwargs\":[{}]}\n",
    );
}

const MOBILE: [&str; 11] = [
    "hello",
    "--profile",
    "mlperf-mobile",
    "-p",
    "8",
    "-n",
    "2",
    "-t",
    "1",
    "--report",
    "forms",
];

/// A shortened run is measured, and marked everywhere as not conforming.
#[test]
fn a_shortened_run_does_not_conform() {
    let home = folder("short");
    write_tasks(&home);
    let more = [
        "--min-seconds",
        "0.1",
        "--min-queries",
        "5",
        "--ambient",
        "30",
        "--tasks",
        "mmlu=mmlu.csv",
        "--tasks",
        "kmmlu=kmmlu.csv",
        "--tasks",
        "kmmlu=kmmlu.jsonl",
        "--tasks",
        "ifeval=ifeval.jsonl",
        "--tasks",
        "ko-ifeval=ko.jsonl",
    ];
    let said = bench(&home, &[&MOBILE[..], &more].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("NOT kept"), "{}", said.out);
    let mobile = json(&home.join("forms/mlperf-mobile.json"));
    assert_eq!(
        mobile["departures"].as_array().unwrap().len(),
        3,
        "{mobile}"
    );
    assert!(mobile["queries"].as_u64().unwrap() >= 5);
    assert!(mobile["latency_ms"]["p90"].as_f64().unwrap() > 0.0);
    let tasks = mobile["tasks"].as_array().unwrap();
    let items: Vec<u64> = tasks
        .iter()
        .map(|task| task["items"].as_u64().unwrap())
        .collect();
    assert_eq!(items, [2, 1, 1, 1, 1]);
    let instructions = &tasks[3]["instructions"];
    assert_eq!(instructions["not_judged"], 1, "{instructions}");
    assert_eq!(instructions["unknown"][0], "new:instruction");
    // With an instruction that nothing verifies, the prompt counts as right in no case.
    assert_eq!(tasks[3]["right"], 0);
    let answers = fs::read_to_string(home.join("forms/answers.jsonl")).unwrap();
    assert_eq!(answers.lines().count(), 6);
    let page = fs::read_to_string(home.join("forms/mlperf-mobile.html")).unwrap();
    for text in [
        "부합하지 않는 결과",
        "does not conform",
        "MLPerf 결과가 아닙니다",
        "30 °C",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn options_that_a_profile_would_ignore_are_refused() {
    let home = folder("options");
    for (args, why) in [
        (
            &["hello", "--profile", "k-perf", "--ambient", "20"][..],
            "options of mlperf-mobile",
        ),
        (
            &["hello", "hello", "--profile", "mlperf-mobile"],
            "one model",
        ),
        (
            &["hello", "--profile", "mlperf-mobile", "-p", "8,16"],
            "one -p",
        ),
        (
            &["hello", "--profile", "k-perf", "--sessions", "4"],
            "one session",
        ),
        (&["hello", "--profile", "k-perf", "-n", "0"], "at least 1"),
        (&["hello", "--meter", "x.csv"], "--profile"),
        (
            &["hello", "--profile", "k-perf", "--tasks", "bbh=x"],
            "ko-ifeval=FILE",
        ),
    ] {
        let said = bench(&home, args);
        assert!(
            said.code == 2 && said.err.contains(why),
            "{args:?}: {}",
            said.err
        );
    }
}

#[test]
fn a_set_of_tasks_that_is_none_is_named_with_its_line() {
    let home = folder("bad-tasks");
    fs::write(home.join("bad.csv"), "q,1,2,3,4,A\nq,1,2\n").unwrap();
    let more = [
        "--min-seconds",
        "0",
        "--min-queries",
        "1",
        "--tasks",
        "mmlu=bad.csv",
    ];
    let said = bench(&home, &[&MOBILE[..], &more].concat());
    assert!(
        said.code == 1 && said.err.contains("bad.csv, line 2"),
        "{}",
        said.err
    );
}

/// Times of a stub mean nothing, so no form has them.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_stub_gets_no_profile() {
    let home = folder("stub");
    let plugin = ondol_tests::softnpu::plugin().display().to_string();
    let said = bench(
        &home,
        &[&GRID[..], &["forms", "--delegate", &plugin]].concat(),
    );
    assert!(
        said.code == 1 && said.err.contains("contract stub"),
        "{}",
        said.err
    );
    assert!(!home.join("forms/k-perf.json").exists());
}

/// The forms are signed like any report.
#[test]
fn forms_are_signed_and_checked() {
    let home = folder("signed");
    let said = bench(&home, &[&GRID[..], &["forms"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let report = |args: &[&str]| {
        let said = run(ondol(&home).current_dir(&home).arg("report").args(args));
        assert_eq!(said.code, 0, "{}", said.err);
        said.out
    };
    report(&["keygen", "lab.pem"]);
    report(&["sign", "forms", "--key", "lab.pem"]);
    let signed = report(&["check", "forms.zip", "--key", "lab.pub.pem"]);
    assert!(signed.contains("k-perf.xlsx"), "{signed}");
}

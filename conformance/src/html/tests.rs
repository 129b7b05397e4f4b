//! Tests of the whole page.

use super::*;
use serde_json::{Value, json};

/// A report with every field filled in and every verdict there is.
fn sample() -> Value {
    let gate = |id: &str, verdict: &str, found: Option<f64>, limit: Option<f64>| {
        json!({
            "id": id, "title": {"en": "An error", "ko": "오차"}, "found": found,
            "spread": found.map(|_| json!({"runs": 5, "mean": 1.0, "deviation": 0.25, "min": 0.5,
                "p50": 1.0, "p90": 1.5, "p99": 1.5, "max": 1.5})),
            "limit": limit, "at_least": false, "unit": "NMSE", "verdict": verdict,
            "note": "the worst of 12",
        })
    };
    let losses = |kl: f64| json!({"tokens": 96, "mean_kl": kl, "p99_kl": 10.0 * kl, "top1": 0.97});
    let level = |name: &str| {
        json!({
            "name": name, "seconds": 1.25,
            "gates": [
                gate(&format!("{name}.pass"), "pass", Some(1e-7), Some(1e-4)),
                gate(&format!("{name}.fail"), "fail", Some(1e-3), Some(1e-4)),
                gate(&format!("{name}.waived"), "waived", Some(1e-3), Some(1e-4)),
                gate(&format!("{name}.partial"), "partial", Some(1e-3), Some(1e-4)),
                gate(&format!("{name}.not-measured"), "not-measured", None, Some(1e-4)),
                gate(&format!("{name}.told"), "not-measured", Some(12.0), None),
            ],
            "series": [{
                "title": {"en": "Error by layer", "ko": "층별 오차"},
                "x_label": {"en": "layer", "ko": "층"}, "y_label": {"en": "error", "ko": "오차값"},
                "x": [0.0, 1.0, 2.0], "y": [1e-7, 2e-7, 0.0], "limit": 1e-4, "logarithmic": true,
            }],
        })
    };
    json!({
        "schema": 3, "created": "2026-11-29T21:00:00+09:00",
        "submission": {"applicant": "A maker", "tester": "A lab", "serial": "N-7"},
        "texts": [{"name": "ko", "sha256": "ee55"}], "command": ["ondol", "verify", "a b"],
        "ondol": "0.1.0", "commit": "c0ffee", "program_sha256": "dd44", "records": [], "seed": 12345678901u64, "conclusion": "fail",
        "partial": [{"en": "hello is a toy", "ko": "소형 모델"}],
        "format": {"passed": false, "texts": [{
            "name": "ko", "weights": losses(1e-3), "all": losses(2e-2), "cpu": losses(1e-5),
        }]},
        "host": {"cpu": "A CPU", "threads": 4, "kernels": "avx2", "system": "linux x86_64",
                 "os_kernel": "6.1", "memory": 8589934592u64, "governor": "performance"},
        "device": {
            "plugin": "softnpu", "plugin_version": "1.0", "plugin_licence": "Apache-2.0",
            "plugin_sha256": "aa11",
            "libraries": [{"name": "/opt/libdriver.so", "sha256": "ff66"}],
            "nodes": ["/dev/npu0"], "vendor": "A maker", "device": "A device",
            "arch": "v2", "driver": "1.2", "firmware": "3.4", "label": "contract stub",
            "activations": "i8", "arithmetic": "sums of 32 bits", "weights": ["i8, groups of 32"], "rows": [1, 128],
        },
        "model": {
            "name": "model.gguf", "title": "A model", "architecture": "llama",
            "bytes": 1234567890, "sha256": ["bb22", "cc33"],
        },
        "offload": {
            "work": {"prefill": 0.9997, "decode": 0.5, "attention": 0.0, "head": 0.0}, "rows": 128, "compile_seconds": 1.5, "from_cache": 1, "programs": 3,
            "spans": [{"name": "layers 0-3", "nodes": 40, "matmuls": 28, "multiply_adds": 123456}],
            "refused": [{"reason": "no such operation", "nodes": 2, "multiply_adds": 77}],
            "withheld": [{"reason": "attention", "nodes": 30, "multiply_adds": 0}],
            "weights": [{"form": "i8", "count": 28, "worst_loss": 1.2e-5}],
        },
        "levels": Name::ALL.map(|name| level(&name.to_string())),
    })
}

fn render(report: &Value) -> String {
    page(&serde_json::from_value(report.clone()).expect("a report"))
}

/// Puts an attack with a number of its own in place of every free string.
fn poison(value: &mut Value, key: &str, attacks: &mut usize) {
    match value {
        Value::String(text) => {
            let level = key == "name" && serde_json::from_value::<Name>(json!(*text)).is_ok();
            if !["verdict", "conclusion"].contains(&key) && !level {
                *text = format!("\"'><script>attack({attacks})</script>&\0\u{1b}\u{202e}");
                *attacks += 1;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| poison(item, key, attacks)),
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(key, field)| poison(field, key, attacks)),
        _ => {}
    }
}

/// The name of a tag, if its attributes are quoted as they must be.
fn tag_name(tag: &str) -> &str {
    let (name, mut rest) = tag.split_at(tag.find(' ').unwrap_or(tag.len()));
    while !matches!(rest, "" | "/") {
        let attribute = rest.strip_prefix(' ').expect("a space before an attribute");
        let end = attribute.find([' ', '=']).unwrap_or(attribute.len());
        assert!(
            attribute[..end]
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        );
        rest = &attribute[end..];
        if let Some(value) = rest.strip_prefix("=\"") {
            rest = &value[value.find('"').expect("a closing quote") + 1..];
        }
    }
    name
}

/// Whether every tag is closed in its order.
fn assert_well_formed(page: &str) {
    let mut open = Vec::new();
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    for part in body.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("the end of a tag");
        assert!(
            !text.contains('>') || open.last() == Some(&"style") || tag == "style",
            "{part}"
        );
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "in {part}"),
            None => {
                let name = tag_name(tag);
                if !tag.ends_with('/') && !["meta", "input", "br"].contains(&name) {
                    open.push(name);
                }
            }
        }
    }
    assert!(open.is_empty(), "{open:?} are open");
}

#[test]
fn no_word_of_a_report_becomes_markup_and_every_one_is_told() {
    let mut report = sample();
    let mut attacks = 0;
    poison(&mut report, "", &mut attacks);
    let page = render(&report);
    assert!(attacks > 100, "{attacks}");
    assert_well_formed(&page);
    assert!(!page.contains("<script") && !page.contains(['\0', '\u{1b}', '\u{202e}']));
    for attack in 0..attacks {
        assert!(
            page.contains(&format!("attack({attack})")),
            "{attack} is not told"
        );
    }
}

#[test]
fn every_level_and_gate_is_there_in_both_languages() {
    let page = render(&sample());
    assert_well_formed(&page);
    for name in Name::ALL {
        for (en, ko) in [words::level(name), words::meaning(name)] {
            assert!(
                page.contains(&text::escape(en)) && page.contains(ko),
                "{en}"
            );
        }
        let level = serde_json::to_value(name).expect("a name");
        for verdict in ["pass", "fail", "waived", "partial", "not-measured", "told"] {
            let id = format!(">{}.{verdict}<", level.as_str().expect("a string"));
            assert!(page.contains(&id), "{id}");
        }
    }
    let [ko, en] = ["<span lang=\"ko\">", "<span lang=\"en\">"].map(|l| page.matches(l).count());
    assert!(ko == en && ko > 100, "{ko} {en}");
    assert!(page.contains("99.97 %"), "a share of less than all");
    assert!(page.contains("5 runs, 0.5 to 1.5, standard deviation 0.25"));
    assert!(!page.contains("class=\"slot\""), "all was stated");
}

#[test]
fn only_hardware_needs_no_warning() {
    let mut report = sample();
    for (label, warnings) in [
        ("hardware", 0),
        ("emulator", 3),
        ("contract stub", 3),
        ("Hardware", 3),
        ("", 3),
    ] {
        report["device"]["label"] = json!(label);
        let page = render(&report);
        assert_eq!(
            page.matches("class=\"warning\"").count(),
            warnings,
            "{label}"
        );
        assert_eq!(
            page.matches("is no evidence of any hardware").count(),
            warnings
        );
        assert_eq!(page.matches("근거가 될 수 없으며").count(), warnings);
    }
}

#[test]
fn a_gate_shows_on_which_side_of_its_limit_it_is() {
    let mut report = sample();
    let gate = &mut report["levels"][0]["gates"][1];
    gate["found"] = json!(0.99999);
    gate["limit"] = json!(1.0);
    gate["at_least"] = json!(true);
    let page = render(&report);
    assert!(page.contains("<td>0.99999</td><td>≥&nbsp;1</td>"));
    assert!(page.contains("<td>1e-7</td><td>≤&nbsp;1e-4</td>"));
    assert!(page.contains("<td>12</td><td>—</td>"));
}

#[test]
fn the_verdict_is_never_better_than_the_gates() {
    let verdict = |conclusion: &str, verdicts: &[&str]| {
        let mut report = sample();
        report["conclusion"] = json!(conclusion);
        let gate = report["levels"][0]["gates"][0].clone();
        let gates = verdicts.iter().map(|verdict| {
            let mut gate = gate.clone();
            gate["verdict"] = json!(verdict);
            gate
        });
        report["levels"] = json!([{
            "name": "op", "seconds": 0.0, "series": [], "gates": gates.collect::<Vec<_>>(),
        }]);
        let page = render(&report);
        assert_well_formed(&page);
        let class = page.split("<div class=\"verdict ").nth(1);
        let class = class.and_then(|rest| rest.split('"').next());
        class.expect("a verdict").to_string()
    };
    assert_eq!(verdict("pass", &["pass", "waived", "not-measured"]), "pass");
    assert_eq!(verdict("pass", &["pass", "fail"]), "fail");
    assert_eq!(verdict("pass", &["pass", "partial"]), "waived");
    assert_eq!(verdict("partial", &["pass"]), "waived");
    assert_eq!(verdict("fail", &["pass"]), "fail");
    assert_eq!(verdict("pass", &["waived"]), "waived");
    assert_eq!(verdict("partial", &["not-measured"]), "open");
    assert_eq!(verdict("pass", &[]), "open");
}

#[test]
fn what_is_missing_is_told() {
    let mut report = sample();
    report["offload"] = Value::Null;
    report["format"] = Value::Null;
    report["levels"] = json!([]);
    report["model"]["sha256"] = json!([]);
    let page = render(&report);
    assert_well_formed(&page);
    assert!(page.contains("장치가 이 모델의 어떤 부분도 맡지 않았습니다."));
    assert_eq!(page.matches(">Not run<").count(), Name::ALL.len());
}

#[test]
fn nothing_is_fetched_or_run() {
    let page = render(&sample());
    for word in ["http:", "https:", "url(", "@import", "src=", "<link"] {
        assert!(!page.contains(word), "{word}");
    }
}

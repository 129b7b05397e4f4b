//! Commands that run a model: run, record, agree, perplexity, bench.

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{Said, folder, ondol, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Command;
use std::process::Stdio;

/// A folder with `model.gguf` and some prompts.
fn home(test: &str) -> PathBuf {
    let home = folder(test);
    fs::write(home.join("model.gguf"), tiny::model()).unwrap();
    let prompts = "The river\n온돌은 따뜻하다\n\n{\"prompt\": \"two\\nlines\"}\n";
    fs::write(home.join("prompts.txt"), prompts).unwrap();
    home
}

fn say(home: &Path, args: &[&str]) -> Said {
    run(ondol(home).current_dir(home).args(args))
}

/// Records that many steps of the prompts in `r.jsonl`.
fn record(home: &Path, prompts: &str, steps: usize, more: &[&str]) {
    let steps = steps.to_string();
    let args = [
        "record",
        "model.gguf",
        prompts,
        "-n",
        &steps,
        "-o",
        "r.jsonl",
        "--force",
    ];
    say(home, &[&args[..], more].concat()).expect(0);
}

#[test]
fn run_completes_and_reports() {
    let home = home("run");
    let args = [
        "run",
        "model.gguf",
        "The river",
        "--raw",
        "--temperature",
        "0",
        "--max-tokens",
        "8",
        "--json",
    ];
    let json = say(&home, &args).expect(0).json();
    let tokens = json["tokens"].as_array().unwrap().len();
    assert_eq!(json["stats"]["generated_tokens"], tokens);
    assert_eq!(json["stats"]["prompt_tokens"], "The river".len());
    assert!(
        json["text"].is_string() && (tokens == 8 || json["finish_reason"] == "end"),
        "{json}"
    );
    let again = say(&home, &args).expect(0).json();
    assert_eq!(json["tokens"], again["tokens"]);
    let alone = say(&home, &[&args[..], &["--drafts", "0"]].concat());
    let alone = alone.expect(0).json();
    assert_eq!(json["tokens"], alone["tokens"]);
    assert_eq!(alone["stats"]["drafted_tokens"], 0);
    let text = say(&home, &args[..args.len() - 1]).expect(0).out;
    assert_eq!(
        text.trim_end_matches('\n'),
        json["text"].as_str().unwrap().trim_end_matches('\n')
    );
}

/// The tokens of a raw prompt, one a byte, that is made of an argument and of what is piped in.
#[track_caller]
fn prompt_bytes(home: &Path, prompt: &[&str], piped: &[u8]) -> u64 {
    let mut command = ondol(home);
    command.current_dir(home).args(["run", "model.gguf"]);
    command.args(prompt);
    command.args(["--raw", "--max-tokens", "1", "--json"]);
    let json = common::run_with(&mut command, piped).expect(0).json();
    json["stats"]["prompt_tokens"].as_u64().unwrap()
}

#[test]
fn piped_input_is_the_prompt_less_its_last_line_break() {
    let home = home("pipe");
    for (piped, bytes) in [
        (&b"abc\n"[..], 3),
        (b"abc\r\n", 3),
        (b"abc\n\n", 4),
        (b"abc\r", 4),
        (b" ", 1),
        ("\u{feff}abc\n".as_bytes(), 3),
    ] {
        assert_eq!(prompt_bytes(&home, &[], piped), bytes, "{piped:?}");
    }
}

#[test]
fn piped_input_follows_the_prompt_after_a_blank_line() {
    let home = home("pipe-and-prompt");
    for (piped, bytes) in [(&b""[..], 2), (b"\n", 2), (b"abc\n", 7), (b"abc\nd\n", 9)] {
        assert_eq!(prompt_bytes(&home, &["ab"], piped), bytes, "{piped:?}");
    }
    assert_eq!(prompt_bytes(&home, &[""], b"abc\n"), 3);
    // From a file, and from what is neither a pipe nor a file.
    fs::write(home.join("text.txt"), "abc\n").unwrap();
    for (file, bytes) in [(home.join("text.txt"), 7), ("/dev/null".into(), 2)] {
        let mut command = ondol(&home);
        command
            .current_dir(&home)
            .stdin(fs::File::open(file).unwrap());
        command.args([
            "run",
            "model.gguf",
            "ab",
            "--raw",
            "--max-tokens",
            "1",
            "--json",
        ]);
        let json = run(&mut command).expect(0).json();
        assert_eq!(json["stats"]["prompt_tokens"], bytes);
    }
}

/// Whoever started the program may have left it a pipe that never ends.
#[test]
fn a_pipe_that_does_not_end_is_told() {
    use std::io::{BufRead, BufReader};
    let home = home("endless");
    let mut command = ondol(&home);
    command.current_dir(&home);
    command.args(["run", "model.gguf", "ab", "--raw", "--max-tokens", "1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert!(line.contains("/dev/null"), "{line}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_no_utf_8_is_refused_with_its_place() {
    let home = home("no-text");
    let files: [(&str, &[u8]); 2] = [("utf16", b"\xff\xfea\0"), ("latin1", b"caf\xe9 noir")];
    let complaints = ["it is UTF-16", "not UTF-8 from byte 3"];
    for ((name, bytes), complaint) in files.into_iter().zip(complaints) {
        fs::write(home.join(name), bytes).unwrap();
        for args in [
            &["perplexity", "model.gguf", "-f", name][..],
            &["record", "model.gguf", name, "-o", "r.jsonl"],
            &["agree", "model.gguf", name],
        ] {
            say(&home, args)
                .expect(1)
                .complains(complaint)
                .complains(name);
        }
        for args in [
            &["tokenize", "model.gguf", "--stdin"][..],
            &["run", "model.gguf"],
        ] {
            let mut command = ondol(&home);
            let said = common::run_with(command.current_dir(&home).args(args), bytes);
            said.expect(1)
                .complains(complaint)
                .complains("standard input");
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let home = home("bom");
    let tokens = |command: &mut Command, input: &[u8]| {
        let said = common::run_with(command.current_dir(&home), input).expect(0);
        said.out
    };
    let tokenize = |input: &[u8]| {
        let args = ["tokenize", "model.gguf", "--stdin", "--ids"];
        tokens(ondol(&home).args(args), input)
    };
    assert_eq!(tokenize("\u{feff}ab\r\n".as_bytes()), tokenize(b"ab\r\n"));
    fs::write(home.join("text.txt"), "\u{feff}abcdef").unwrap();
    let args = ["perplexity", "model.gguf", "-f", "text.txt", "--json"];
    assert_eq!(say(&home, &args).expect(0).json()["tokens"], 6);
    fs::write(home.join("prompts.txt"), "\u{feff}ab\r\ncd\r\n").unwrap();
    record(&home, "prompts.txt", 1, &[]);
    let records = fs::read_to_string(home.join("r.jsonl")).unwrap();
    let prompts: Vec<Value> = records
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["prompt"].clone())
        .collect();
    assert_eq!(prompts, ["ab", "cd"]);
}

#[test]
fn a_model_without_a_template_completes_and_says_so() {
    let home = home("no-template");
    let args = [
        "run",
        "model.gguf",
        "abc",
        "--temperature",
        "0",
        "--max-tokens",
        "2",
        "--json",
    ];
    let said = say(&home, &args)
        .expect(0)
        .complains("has no chat template");
    assert_eq!(said.json()["stats"]["prompt_tokens"], 3);
    let raw = say(&home, &[&args[..], &["--raw"]].concat()).expect(0);
    assert!(!raw.err.contains("template"), "{}", raw.err);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_an_answer_and_what_was_said_stays() {
    use std::io::Read;
    let home = home("ctrl-c");
    let args = [
        "run",
        "model.gguf",
        "abc",
        "--raw",
        "--temperature",
        "0",
        "--ctx",
        "200000",
    ];
    let mut command = ondol(&home);
    command
        .current_dir(&home)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = [0; 1];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.stdout.last(), Some(&b'\n'));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.ends_with("\ncancelled\n") && !said.contains("error"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_before_the_answer_is_no_error_either() {
    use std::io::{BufRead, BufReader, Read};
    let home = home("ctrl-c-in-prefill");
    fs::write(home.join("prompt.txt"), "a".repeat(100_000)).unwrap();
    let mut command = ondol(&home);
    command.current_dir(&home);
    command.args(["run", "model.gguf", "--raw", "--ctx", "100001"]);
    command.stdin(fs::File::open(home.join("prompt.txt")).unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("was trained for 512 tokens"), "{line}");
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(
        (output.status.code(), rest.as_str()),
        (Some(130), "cancelled\n")
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn what_can_not_run_is_refused_with_advice() {
    let home = home("refused");
    say(
        &home,
        &["run", "model.gguf", "a long prompt", "--raw", "--ctx", "4"],
    )
    .expect(1)
    .complains("--ctx");
    say(&home, &["run", "model.gguf", "x", "--threads", "0"]).expect(2);
    say(&home, &["run", "model.gguf", "x", "--kernels", "magic"])
        .expect(2)
        .complains("exact");
    say(&home, &["run", "model.gguf", "x", "--kv-type", "q9_0"])
        .expect(2)
        .complains("f16, q8_0");
    say(&home, &["run", "model.gguf", "x", "--raw", "--system", "y"]).expect(2);
    say(&home, &["run"]).expect(2);
}

#[test]
fn options_that_mean_nothing_are_refused_by_name() {
    let home = home("options");
    for (option, values) in [
        ("--temperature", &["nan", "inf", "-1", "x", ""][..]),
        ("--top-p", &["nan", "0", "2"]),
        ("--min-p", &["nan", "-0.1", "1.1"]),
        ("--repeat-penalty", &["nan", "0", "-1", "inf"]),
        ("--frequency-penalty", &["nan", "-inf"]),
        ("--presence-penalty", &["nan", "1e39"]),
        ("--seed", &["-2", "1.5", "18446744073709551616"]),
        ("--screen", &["nan", "-1", "inf"]),
        ("--max-tokens", &["0", "-1", "99999999999999999999"]),
    ] {
        for value in values {
            let option_is = format!("{option}={value}");
            say(&home, &["run", "model.gguf", "x", &option_is])
                .expect(2)
                .complains(option);
        }
    }
    // A negative number is a value, and no other option.
    for (option, wanted) in [
        ("--temperature", "a number of at least 0"),
        ("--top-p", "a number above 0 and at most 1"),
        ("--min-p", "a number from 0 to 1"),
        ("--repeat-penalty", "a number above 0"),
        ("--top-k", "a whole number of at least 0"),
        ("--drafts", "a whole number of at least 0"),
        ("--screen", "a number of at least 0, or `off`"),
        ("--max-tokens", "a whole number of at least 1"),
        ("--ctx", "a whole number of at least 1"),
        ("--threads", "a whole number of at least 1"),
        ("-t", "a whole number of at least 1"),
        ("--seed", "a whole number from 0"),
    ] {
        let said = say(&home, &["run", "model.gguf", "x", option, "-2"]).expect(2);
        let _ = said.complains("invalid value '-2'").complains(wanted);
    }
    say(&home, &["bench", "model.gguf", "-p", "-1"])
        .expect(2)
        .complains("a whole number of at least 0");
    say(&home, &["run", "model.gguf", "x", "--stop", ""])
        .expect(2)
        .complains("an empty text can't be found");
    for option in ["--max-dlnp", "--min-top1"] {
        for value in ["nan", "inf", "-inf", "-1", "-0.5", "x"] {
            let option_is = format!("{option}={value}");
            say(&home, &["agree", "model.gguf", "prompts.txt", &option_is])
                .expect(2)
                .complains(option);
        }
    }
    let top1 = ["agree", "model.gguf", "prompts.txt", "--min-top1", "1.01"];
    say(&home, &top1).expect(2).complains("--min-top1");
    // As users of other engines write it.
    let random = [
        "run",
        "model.gguf",
        "x",
        "--raw",
        "--max-tokens",
        "1",
        "--seed",
        "-1",
    ];
    say(&home, &random).expect(0);
}

#[test]
fn a_record_agrees_with_the_engine_that_made_it() {
    let home = home("agree");
    record(&home, "prompts.txt", 6, &[]);
    let text = fs::read_to_string(home.join("r.jsonl")).unwrap();
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 3);
    assert_eq!(records[2]["prompt"], "two\nlines");
    let step = &records[0]["steps"][0];
    assert_eq!(step["top"].as_array().unwrap().len(), 10);
    assert_eq!(step["id"], step["top"][0][0]);
    let lnp: Vec<f64> = step["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t[1].as_f64().unwrap())
        .collect();
    assert!(lnp.is_sorted_by(|a, b| a >= b) && lnp[0] < 0.0, "{lnp:?}");

    let args = [
        "agree",
        "model.gguf",
        "r.jsonl",
        "--json",
        "--max-dlnp",
        "0.00001",
        "--min-top1",
        "1",
    ];
    let report = say(&home, &args).expect(0).json();
    assert_eq!(report["overall"]["top1"], 1.0);
    assert_eq!(report["overall"]["top1_clear"], 1.0);
    let steps: u64 = report["prompts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["steps"].as_u64().unwrap())
        .sum();
    assert_eq!(report["overall"]["steps"], steps);
    assert_eq!(
        steps,
        records
            .iter()
            .map(|r| r["steps"].as_array().unwrap().len() as u64)
            .sum::<u64>()
    );
}

/// Step 1 of a record whose step 0 took `c` after `ab` must see what comes after `abc`,
/// whatever the model itself would have taken.
#[test]
fn agree_forces_the_tokens_of_the_record() {
    let home = home("forced");
    let recorded = |prompt: &str| {
        fs::write(home.join("prompt.txt"), prompt).unwrap();
        record(&home, "prompt.txt", 1, &["--kernels", "exact"]);
        let line = fs::read_to_string(home.join("r.jsonl")).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let (mut forced, after) = (recorded("ab"), recorded("abc"));
    assert_ne!(
        forced["steps"][0]["id"],
        u32::from(b'c'),
        "the model takes `c` itself"
    );
    forced["steps"][0]["id"] = u32::from(b'c').into();
    let steps = [forced["steps"][0].clone(), after["steps"][0].clone()];
    forced["steps"] = steps.to_vec().into();
    fs::write(home.join("forced.jsonl"), forced.to_string()).unwrap();
    let args = [
        "agree",
        "model.gguf",
        "forced.jsonl",
        "--kernels",
        "exact",
        "--json",
    ];
    let overall = say(&home, &args).expect(0).json()["overall"].clone();
    assert!(
        overall["worst"]["dlnp"].as_f64().unwrap() < 1e-3,
        "{overall}"
    );
    assert_eq!(
        overall["top1"], 1.0,
        "the likeliest of the record counts, and not the token that it took"
    );
}

#[test]
fn a_model_that_differs_does_not_agree() {
    let home = home("disagree");
    record(&home, "prompts.txt", 6, &[]);
    say(&home, &["quantize", "model.gguf", "q2.gguf", "Q2_K"]).expect(0);
    let said = say(
        &home,
        &[
            "agree",
            "q2.gguf",
            "r.jsonl",
            "--json",
            "--max-dlnp",
            "0.00001",
        ],
    )
    .expect(1);
    let report = said.complains("mean |d ln p|").json();
    assert!(
        report["overall"]["mean_abs_dlnp"].as_f64().unwrap() > 1e-3,
        "{report}"
    );
    assert!(
        report["overall"]["worst"]["dlnp"].as_f64() >= report["overall"]["mean_abs_dlnp"].as_f64()
    );
    let lines = fs::read_to_string(home.join("r.jsonl")).unwrap();
    let mut forced: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let (first, second) = (&forced["steps"][0]["top"][0], &forced["steps"][0]["top"][1]);
    assert_ne!(first[0], second[0]);
    forced["steps"][0]["id"] = second[0].clone();
    fs::write(home.join("forced.jsonl"), forced.to_string()).unwrap();
    let args = ["agree", "model.gguf", "forced.jsonl", "--min-top1", "1"];
    say(&home, &args).expect(1).complains("top-1");
}

/// A record of nothing shows nothing, and JSON knows no other numbers.
#[test]
fn a_record_without_numbers_passes_no_gate() {
    let home = home("no-numbers");
    let line = |steps: &str| {
        format!("{{\"prompt\":\"ab\",\"prompt_ids\":[97,98],\"text\":\"\",\"steps\":[{steps}]}}\n")
    };
    let agree = |steps: &str, gate: &[&str]| {
        fs::write(home.join("r.jsonl"), line(steps)).unwrap();
        say(&home, &[&["agree", "model.gguf", "r.jsonl"], gate].concat())
    };
    agree("", &["--min-top1", "0"])
        .expect(1)
        .complains("r.jsonl has no steps: there is nothing to judge");
    agree("", &["--max-dlnp", "9"])
        .expect(1)
        .complains("r.jsonl lists no tokens");
    let bare = "{\"id\":1,\"top\":[]}";
    agree(bare, &["--max-dlnp", "9"])
        .expect(1)
        .complains("r.jsonl lists no tokens");
    for lnp in ["null", "NaN", "1e999", "\"-1\""] {
        let step = format!("{{\"id\":1,\"top\":[[1,{lnp}]]}}");
        agree(&step, &["--max-dlnp", "9"])
            .expect(1)
            .complains("line 1");
    }
}

#[test]
fn a_record_of_another_vocabulary_is_refused() {
    let home = home("other-vocabulary");
    let line = |ids: &str, top: &str| {
        format!(
            "{{\"prompt\":\"ab\",\"prompt_ids\":{ids},\"text\":\"\",\"steps\":[{{\"id\":1,\"top\":{top}}}]}}\n"
        )
    };
    fs::write(home.join("ids.jsonl"), line("[97,99]", "[[1,-1.0]]")).unwrap();
    say(&home, &["agree", "model.gguf", "ids.jsonl"])
        .expect(1)
        .complains("other tokens");
    fs::write(home.join("top.jsonl"), line("[97,98]", "[[99999,-1.0]]")).unwrap();
    say(&home, &["agree", "model.gguf", "top.jsonl"])
        .expect(1)
        .complains("token 99999");
    fs::write(home.join("broken.jsonl"), "{\"prompt\":\"ab\"}\n").unwrap();
    say(&home, &["agree", "model.gguf", "broken.jsonl"])
        .expect(1)
        .complains("line 1");
    fs::write(home.join("empty.jsonl"), "\n").unwrap();
    say(&home, &["agree", "model.gguf", "empty.jsonl"])
        .expect(1)
        .complains("empty");
}

/// A vocabulary of random weights predicts nothing: about one chance in `VOCABULARY`, or worse.
#[test]
fn perplexity_counts_every_token_but_the_first() {
    let home = home("perplexity");
    let text: String = (0..300)
        .map(|i| char::from(b'a' + (i * 7 % 26) as u8))
        .collect();
    fs::write(home.join("text.txt"), text).unwrap();
    let json = say(
        &home,
        &[
            "perplexity",
            "model.gguf",
            "-f",
            "text.txt",
            "--tokens",
            "100",
            "--json",
        ],
    )
    .expect(0)
    .json();
    assert_eq!(json["tokens"], 100);
    let (nll, perplexity) = (
        json["mean_nll"].as_f64().unwrap(),
        json["perplexity"].as_f64().unwrap(),
    );
    assert!((nll.exp() / perplexity - 1.0).abs() < 1e-9);
    assert!(nll > 3.0, "{nll}");
    fs::write(home.join("short.txt"), "a").unwrap();
    say(&home, &["perplexity", "model.gguf", "-f", "short.txt"])
        .expect(1)
        .complains("has 1 tokens");
}

/// What `perplexity` sums must be what `record` lists: the same text, token by token.
#[test]
fn perplexity_and_record_tell_the_same_probabilities() {
    let home = home("same-figures");
    fs::write(home.join("prompt.txt"), "a").unwrap();
    record(&home, "prompt.txt", 1, &[]);
    let record: Value =
        serde_json::from_str(fs::read_to_string(home.join("r.jsonl")).unwrap().trim()).unwrap();
    let printable = |t: &&Value| t[0].as_u64().is_some_and(|id| (32..127).contains(&id));
    let Some(listed) = record["steps"][0]["top"]
        .as_array()
        .unwrap()
        .iter()
        .find(printable)
    else {
        panic!("no ASCII among the likeliest: {record}");
    };
    let next = char::from(listed[0].as_u64().unwrap() as u8);
    fs::write(home.join("text.txt"), format!("a{next}")).unwrap();
    let json = say(
        &home,
        &["perplexity", "model.gguf", "-f", "text.txt", "--json"],
    )
    .expect(0)
    .json();
    let (nll, lnp) = (
        json["mean_nll"].as_f64().unwrap(),
        listed[1].as_f64().unwrap(),
    );
    assert!((nll + lnp).abs() < 1e-3, "{nll} against {lnp}");
}

#[test]
fn bench_prints_its_json() {
    let home = home("bench");
    let args = [
        "bench",
        "model.gguf",
        "-p",
        "16,0",
        "-n",
        "4",
        "-t",
        "1,2",
        "-r",
        "2",
        "--json",
    ];
    let json = say(&home, &args).expect(0).json();
    let results = json["results"].as_array().unwrap();
    let tests: Vec<String> = results
        .iter()
        .map(|r| format!("{} {}", r["test"].as_str().unwrap(), r["threads"]))
        .collect();
    assert_eq!(tests, ["pp16 1", "tg4 1", "pp16 2", "tg4 2"]);
    for result in results {
        let speed = |key: &str| result["tokens_per_s"][key].as_f64().unwrap();
        assert!(
            speed("min") > 0.0
                && speed("min") <= speed("median")
                && speed("median") <= speed("max")
        );
    }
    assert!(json["machine"]["cpu"].is_string() && json["model"]["bytes"].is_u64());
    say(&home, &["bench", "model.gguf", "-p", "0", "-n", "0"])
        .expect(2)
        .complains("nothing to measure");
}

#[test]
fn every_command_has_help_with_examples() {
    let home = folder("help");
    let list = say(&home, &["--help"]).expect(0).out;
    for command in [
        "run",
        "pull",
        "list",
        "rm",
        "prune",
        "inspect",
        "bench",
        "perplexity",
        "tokenize",
        "record",
        "agree",
        "quantize",
    ] {
        assert!(list.contains(command), "{list}");
        let help = say(&home, &[command, "--help"]).expect(0).out;
        assert!(
            help.contains("Examples:") && help.contains(&format!("ondol {command}")),
            "{help}"
        );
    }
}

/// A catalog whose hub can't be reached: `hello` must not need it.
#[test]
fn the_built_in_model_needs_no_file_and_no_network() {
    let home = folder("hello");
    let args = [
        "run",
        "hello",
        "안녕하세요",
        "--temperature",
        "0",
        "--max-tokens",
        "40",
        "--json",
    ];
    let said = run(ondol(&home)
        .args(args)
        .env("HF_ENDPOINT", "http://127.0.0.1:1"))
    .expect(0);
    let json = said.json();
    let text = json["text"].as_str().unwrap();
    assert!(
        text.chars().any(|c| ('가'..='힣').contains(&c)),
        "no Hangul in {text:?}"
    );
    assert!(!said.err.contains("no chat template"), "{}", said.err);
    assert!(!home.join("models").exists(), "nothing is kept");
    let inspected = say(&home, &["inspect", "hello", "--json"]).expect(0).json();
    assert!(inspected["bytes"].as_u64().unwrap() < 1_000_000);
    assert!(inspected["memory"]["total"].as_u64().unwrap() > 0);
    say(&home, &["tokenize", "hello", "안녕", "--ids"]).expect(0);
    say(&home, &["pull", "hello"]).expect(1);
}

#[test]
fn a_seed_gives_the_same_answer_and_a_stop_string_ends_it() {
    let home = folder("hello-sampling");
    let answer = |more: &[&str]| {
        let args = [
            &["run", "hello", "Hello", "--max-tokens", "30", "--json"],
            more,
        ]
        .concat();
        say(&home, &args).expect(0).json()
    };
    let warm = ["--temperature", "1.5", "--seed", "7"];
    assert_eq!(answer(&warm)["tokens"], answer(&warm)["tokens"]);
    let seeds: Vec<String> = (0..8)
        .map(|seed| {
            answer(&["--temperature", "1.5", "--seed", &seed.to_string()])["text"].to_string()
        })
        .collect();
    assert!(
        seeds.iter().any(|text| *text != seeds[0]),
        "eight seeds, one answer: {}",
        seeds[0]
    );
    let greedy = answer(&["--temperature", "0"]);
    let text = greedy["text"].as_str().unwrap();
    let word = text.split_whitespace().nth(1).unwrap();
    let stopped = answer(&["--temperature", "0", "--stop", word]);
    assert_eq!(stopped["finish_reason"], "stop");
    assert!(!stopped["text"].as_str().unwrap().contains(word));
}

/// A token is a byte here, and one of five begins a character of several.
#[test]
fn an_answer_that_is_cut_has_complete_characters() {
    let home = home("cut");
    let mut cut = 0;
    for seed in 0..40 {
        let seed = format!("--seed={seed}");
        let args = [
            "run",
            "model.gguf",
            "abc",
            "--raw",
            "--max-tokens",
            "1",
            &seed,
        ];
        let any = [
            "--temperature",
            "9",
            "--top-k",
            "0",
            "--top-p",
            "1",
            "--min-p",
            "0",
        ];
        let args = [&args[..], &any].concat();
        let json = say(&home, &[&args[..], &["--json"]].concat())
            .expect(0)
            .json();
        let begins_a_character = |byte: u64| (0xc2..=0xf4).contains(&byte);
        if json["tokens"][0].as_u64().is_some_and(begins_a_character) {
            cut += 1;
            assert_eq!(json["text"], "", "{json}");
            assert_eq!(say(&home, &args).expect(0).out, "\n");
        }
    }
    assert!(cut > 0, "no token begins a character");
}

#[test]
fn a_full_context_is_told_and_max_tokens_is_not() {
    let home = home("full");
    let args = ["run", "model.gguf", "abc", "--raw", "--temperature", "0"];
    let full = say(&home, &[&args[..], &["--ctx", "8"]].concat()).expect(0);
    full.complains("the context is full").complains("--ctx");
    let json = say(&home, &[&args[..], &["--ctx", "8", "--json"]].concat()).expect(0);
    assert_eq!(json.json()["finish_reason"], "context_full");
    let short = say(&home, &[&args[..], &["--max-tokens", "2"]].concat()).expect(0);
    assert!(!short.err.contains("full"), "{}", short.err);
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let home = home("no-file");
    fs::create_dir(home.join("folder")).unwrap();
    for command in ["run", "inspect", "tokenize", "bench"] {
        let more: &[&str] = if command == "bench" { &[] } else { &["x"] };
        let more = if command == "inspect" { &[] } else { more };
        let said = say(&home, &[&[command, "folder"], more].concat());
        said.expect(1)
            .complains("folder is a folder")
            .complains("GGUF");
    }
    #[cfg(unix)]
    {
        let pipe = home.join("pipe.gguf");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in ["pipe.gguf", "/dev/null", "/dev/zero"] {
            say(&home, &["run", path, "x"])
                .expect(1)
                .complains("a pipe or a device");
        }
        let error = ondol::Model::open(&pipe).map(drop).unwrap_err();
        assert!(error.to_string().contains("a pipe or a device"), "{error}");
    }
}

/// The answer counts, and not what is said beside it.
#[cfg(target_os = "linux")]
#[test]
fn a_standard_error_that_is_closed_or_full_is_no_matter() {
    let home = home("stderr");
    let script = |redirection: &str, args: &str| {
        let line = format!("\"$0\" {args} {redirection}");
        run(common::shell(&home, &line).current_dir(&home))
    };
    // It has no template, and its context is full: both are said.
    let answer = "run model.gguf abc --temperature 0 --ctx 8";
    let expected = script("", answer).expect(0);
    assert!(expected.err.lines().count() >= 2, "{}", expected.err);
    for redirection in ["2>/dev/full", "2>&-"] {
        let said = script(redirection, answer).expect(0);
        assert_eq!(said.out, expected.out);
        script(redirection, "run no-model x").expect(1);
        script(redirection, "run model.gguf --top-p 2").expect(2);
        script(
            redirection,
            "record model.gguf prompts.txt -n 2 -o r.jsonl --force",
        )
        .expect(0);
        script(redirection, "bench model.gguf -p 4 -n 0 -r 1").expect(0);
    }
    // Standard output is the answer.
    for args in [answer, "list", "--help", "--version", "run --help"] {
        script(">/dev/full", args)
            .expect(1)
            .complains("standard output");
    }
    script("<&-", answer).expect(0);
}

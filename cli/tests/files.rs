//! Commands that read and write files and run no model: tokenize, inspect, quantize.

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{Said, folder, ondol, run};
use ondol_models::gguf::{Gguf, Writer};
use ondol_models::quant::{DType, dequantize};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Runs the command in a folder of its own.
fn say(home: &Path, args: &[&str]) -> Said {
    run(ondol(home).current_dir(home).args(args))
}

fn with_input(home: &Path, args: &[&str], input: &[u8]) -> Said {
    let mut command = ondol(home);
    command
        .current_dir(home)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    common::said(child.wait_with_output().unwrap())
}

/// A folder with `vocab.gguf` and `model.gguf`.
fn models(test: &str) -> PathBuf {
    let home = folder(test);
    fs::write(
        home.join("vocab.gguf"),
        tiny::vocabulary_only().to_vec(&[]).unwrap(),
    )
    .unwrap();
    fs::write(home.join("model.gguf"), tiny::model()).unwrap();
    home
}

#[test]
fn a_vocabulary_alone_tokenizes() {
    let home = models("tokenize");
    assert_eq!(
        say(&home, &["tokenize", "vocab.gguf", "Hi 한", "--ids"])
            .expect(0)
            .out,
        "72 105 32 237 149 156\n"
    );
    let lines = say(&home, &["tokenize", "vocab.gguf", "Hi"]).expect(0).out;
    assert_eq!(lines, "      72  \"H\"\n     105  \"i\"\n");
    let json = say(&home, &["tokenize", "vocab.gguf", "Hi", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        json,
        serde_json::json!({ "ids": [72, 105], "pieces": ["H", "i"] })
    );
}

#[test]
fn what_was_repaired_is_told() {
    let home = models("repaired");
    let mut writer = tiny::vocabulary_only();
    writer.remove("tokenizer.ggml.token_type");
    fs::write(home.join("untyped.gguf"), writer.to_vec(&[]).unwrap()).unwrap();
    for args in [&["--ids"][..], &["--json"], &[]] {
        let args = [&["tokenize", "untyped.gguf", "<|im_start|>"], args].concat();
        let said = say(&home, &args)
            .expect(0)
            .complains("warning: untyped.gguf: `<|im_start|>` is text in this file");
        assert!(said.out.contains("257"), "{}", said.out);
    }
}

#[test]
fn special_tokens_are_parsed_unless_told_otherwise() {
    let home = models("special");
    let ids = |more: &[&str]| {
        let args = [&["tokenize", "vocab.gguf", "<|im_end|>", "--ids"], more].concat();
        say(&home, &args).expect(0).out
    };
    assert_eq!(ids(&[]), "258\n");
    assert_eq!(
        ids(&["--no-special"]).split_whitespace().count(),
        "<|im_end|>".len()
    );
}

#[test]
fn standard_input_is_tokenized_to_its_last_byte() {
    let home = models("stdin");
    let args = ["tokenize", "vocab.gguf", "--stdin", "--ids", "--no-special"];
    assert_eq!(
        with_input(&home, &args, b" a\n\n").expect(0).out,
        "32 97 10 10\n"
    );
    assert_eq!(with_input(&home, &args, b"").expect(0).out, "\n");
    with_input(&home, &args, b"\xff\xfe")
        .expect(1)
        .complains("standard input");
    say(&home, &["tokenize", "vocab.gguf"]).expect(2);
    say(&home, &["tokenize", "vocab.gguf", "text", "--stdin"]).expect(2);
}

#[test]
fn inspect_counts_parameters_bytes_and_memory() {
    let home = models("inspect");
    let json = say(&home, &["inspect", "model.gguf", "--ctx", "64", "--json"])
        .expect(0)
        .json();
    let bytes = tiny::model();
    let gguf = Gguf::parse(&bytes).unwrap();
    let parameters: usize = gguf.tensors().iter().map(|t| t.elements()).sum();
    assert_eq!(json["parameters"], parameters);
    assert_eq!(json["mix"][0]["type"], "F32");
    assert_eq!(json["mix"][0]["bytes"], parameters * 4);
    assert_eq!(json["metadata"]["llama.block_count"], 2);
    assert_eq!(
        json["metadata"]["tokenizer.ggml.tokens"]["length"],
        tiny::VOCABULARY
    );
    assert_eq!(
        json["tensors"].as_array().unwrap().len(),
        gguf.tensors().len()
    );
    let cache = |ctx: &str| {
        let json = say(&home, &["inspect", "model.gguf", "--ctx", ctx, "--json"])
            .expect(0)
            .json();
        json["memory"]["kv_cache"].as_u64().unwrap()
    };
    assert_eq!(
        cache("128"),
        2 * cache("64"),
        "the cache grows with the context"
    );
    let hello = |kv_type: &str| {
        let args = ["inspect", "hello", "--ctx", "64", "--kv-type", kv_type];
        let json = say(&home, &[&args[..], &["--json"]].concat()).expect(0);
        json.json()["memory"]["kv_cache"].as_u64().unwrap()
    };
    assert_eq!(hello("q8_0") * 64, hello("f16") * 34);
    let table = say(&home, &["inspect", "model.gguf", "--tensors"])
        .expect(0)
        .out;
    assert!(
        table.contains("blk.1.ffn_down.weight") && table.contains("kv_cache"),
        "{table}"
    );
}

#[test]
fn inspect_shows_a_vocabulary_and_says_that_it_can_not_run() {
    let home = models("inspect-vocabulary");
    let said = say(&home, &["inspect", "vocab.gguf"]).expect(0);
    assert!(
        said.out.contains("can't be run") && said.out.contains("tokenizer.ggml.merges"),
        "{}",
        said.out
    );
    let json = say(&home, &["inspect", "vocab.gguf", "--json"])
        .expect(0)
        .json();
    assert!(json["memory"].is_null() && json["cannot_run"].is_string());
}

/// The largest error of a matrix against the original, over the original's largest value.
fn error(original: &Gguf, copy: &Gguf, name: &str) -> f64 {
    let floats = |gguf: &Gguf| {
        let tensor = gguf.tensor(name).unwrap();
        let mut out = vec![0.0; tensor.elements()];
        dequantize(tensor.dtype, tensor.data, &mut out).unwrap();
        out
    };
    let (a, b) = (floats(original), floats(copy));
    let largest = a.iter().fold(0.0_f64, |m, &x| m.max(f64::from(x).abs()));
    a.iter()
        .zip(&b)
        .fold(0.0_f64, |m, (x, y)| m.max(f64::from(x - y).abs()))
        / largest
}

#[test]
fn quantize_writes_the_mix_and_keeps_the_rest() {
    let home = models("quantize");
    let source = tiny::model();
    let original = Gguf::parse(&source).unwrap();
    for (mix, file_type, dtype, bound) in [
        ("q4_k_m", 15, DType::Q4_K, 0.2),
        ("Q8_0", 7, DType::Q8_0, 0.01),
    ] {
        let out = home.join(format!("{mix}.gguf"));
        say(
            &home,
            &["quantize", "model.gguf", out.to_str().unwrap(), mix],
        )
        .expect(0);
        let bytes = fs::read(&out).unwrap();
        let copy = Gguf::parse(&bytes).unwrap();
        assert_eq!(copy.u32("general.file_type"), Ok(file_type));
        assert_eq!(copy.u32("general.quantization_version"), Ok(2));
        assert_eq!(
            copy.get("tokenizer.ggml.tokens"),
            original.get("tokenizer.ggml.tokens")
        );
        assert_eq!(copy.tensor("blk.0.attn_q.weight").unwrap().dtype, dtype);
        assert_eq!(
            copy.tensor("output_norm.weight").unwrap().data,
            original.tensor("output_norm.weight").unwrap().data
        );
        let error = error(&original, &copy, "blk.0.attn_q.weight");
        assert!(error > 0.0 && error < bound, "{mix}: {error}");
        assert_eq!(parts(&home), [] as [&str; 0]);
    }
}

#[test]
fn quantize_gives_the_same_bytes_for_any_number_of_threads() {
    let home = models("quantize-threads");
    for threads in ["1", "3"] {
        say(
            &home,
            &[
                "quantize",
                "model.gguf",
                &format!("{threads}.gguf"),
                "Q4_K_M",
                "-t",
                threads,
            ],
        )
        .expect(0);
    }
    assert!(fs::read(home.join("1.gguf")).unwrap() == fs::read(home.join("3.gguf")).unwrap());
}

#[test]
fn quantizing_again_is_allowed_with_a_note_and_keeps_what_fits() {
    let home = models("requantize");
    say(&home, &["quantize", "model.gguf", "q8.gguf", "Q8_0"]).expect(0);
    say(&home, &["quantize", "q8.gguf", "q4.gguf", "Q4_0"])
        .expect(0)
        .complains("quantized already");
    let said = say(&home, &["quantize", "q8.gguf", "same.gguf", "Q8_0"]).expect(0);
    assert!(!said.err.contains("quantized already"), "{}", said.err);
    assert!(fs::read(home.join("q8.gguf")).unwrap() == fs::read(home.join("same.gguf")).unwrap());
}

/// The way out for a file whose pre-tokenizer has a name that nobody knows.
#[test]
fn a_copy_with_another_pre_tokenizer_runs() {
    let home = models("pre-tokenizer");
    let bytes = tiny::model();
    let gguf = Gguf::parse(&bytes).unwrap();
    let mut writer = Writer::with_metadata_of(&gguf);
    writer.set("tokenizer.ggml.pre", "nobody-knows");
    for tensor in gguf.tensors() {
        writer
            .add_tensor(tensor.name, tensor.dtype, tensor.dims())
            .unwrap();
    }
    let data: Vec<&[u8]> = gguf.tensors().iter().map(|t| t.data).collect();
    fs::write(home.join("odd.gguf"), writer.to_vec(&data).unwrap()).unwrap();
    say(&home, &["tokenize", "odd.gguf", "text"])
        .expect(1)
        .complains("unknown pre-tokenizer `nobody-knows`")
        .complains("--pre-tokenizer");
    let copy = [
        "quantize",
        "odd.gguf",
        "even.gguf",
        "copy",
        "--pre-tokenizer",
    ];
    say(&home, &[&copy[..], &["nobody"]].concat())
        .expect(2)
        .complains("gpt-2");
    say(&home, &[&copy[..], &["gpt-2"]].concat()).expect(0);
    let even = fs::read(home.join("even.gguf")).unwrap();
    let even = Gguf::parse(&even).unwrap();
    assert_eq!(even.str("tokenizer.ggml.pre").unwrap(), "gpt-2");
    for (tensor, same) in gguf.tensors().iter().zip(even.tensors()) {
        assert_eq!((tensor.name, tensor.data), (same.name, same.data));
    }
    let ids = |file: &str| {
        say(&home, &["tokenize", file, "text", "--ids"])
            .expect(0)
            .out
    };
    assert_eq!(ids("even.gguf"), ids("model.gguf"));
}

#[test]
fn quantize_refuses_what_it_can_not_do() {
    let home = models("quantize-refuses");
    say(&home, &["quantize", "model.gguf", "out.gguf", "Q9_X"])
        .expect(2)
        .complains("Q4_K_M");
    say(&home, &["quantize", "model.gguf", "model.gguf", "Q8_0"])
        .expect(2)
        .complains("the same file");
    say(&home, &["quantize", "model.gguf", ".", "Q8_0"])
        .expect(1)
        .complains("cannot write .");
    say(
        &home,
        &["quantize", "model.gguf", "no/such/folder/out.gguf", "Q8_0"],
    )
    .expect(1)
    .complains("cannot create no/such/folder/out.gguf");
    let mut bytes = tiny::model();
    let place = bytes.len() - 40;
    bytes[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(home.join("nan.gguf"), bytes).unwrap();
    say(&home, &["quantize", "nan.gguf", "out.gguf", "Q8_0"])
        .expect(1)
        .complains("not finite");
    assert!(!home.join("out.gguf").exists());
    assert_eq!(parts(&home), [] as [&str; 0]);
}

/// What is left of files that were being written.
fn parts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".ondol-"))
        .collect()
}

/// One rule for all commands that write a file.
#[test]
fn outputs_are_replaced_only_when_that_is_asked_for() {
    let home = models("force");
    say(&home, &["quantize", "model.gguf", "q.gguf", "Q8_0"]).expect(0);
    fs::write(home.join("prompts.txt"), "Hi\n").unwrap();
    let commands = [
        &["quantize", "model.gguf", "out", "Q8_0"][..],
        &["pack", "q.gguf", "out"],
        &[
            "record",
            "model.gguf",
            "prompts.txt",
            "-n",
            "1",
            "-o",
            "out",
        ],
    ];
    for command in commands {
        fs::write(home.join("out"), "the user's").unwrap();
        say(&home, command).expect(2).complains("--force");
        assert_eq!(fs::read_to_string(home.join("out")).unwrap(), "the user's");
        say(&home, &[command, &["--force"]].concat()).expect(0);
        assert_ne!(fs::read(home.join("out")).unwrap(), b"the user's");
        assert_eq!(parts(&home), [] as [&str; 0]);
    }
}

#[test]
fn no_input_is_written_over() {
    let home = models("inputs");
    say(&home, &["quantize", "model.gguf", "q.gguf", "Q8_0"]).expect(0);
    fs::write(home.join("prompts.txt"), "Hi\n").unwrap();
    fs::hard_link(home.join("model.gguf"), home.join("hard.gguf")).unwrap();
    fs::hard_link(home.join("q.gguf"), home.join("hardq.gguf")).unwrap();
    let commands = [
        &["quantize", "model.gguf", "./model.gguf", "Q8_0"][..],
        &["quantize", "model.gguf", "hard.gguf", "Q8_0"],
        &["pack", "q.gguf", "hardq.gguf"],
        &["record", "model.gguf", "prompts.txt", "-o", "hard.gguf"],
        &["record", "model.gguf", "prompts.txt", "-o", "prompts.txt"],
    ];
    for command in commands {
        say(&home, &[command, &["--force"]].concat())
            .expect(2)
            .complains("the same file");
    }
    // Any file will do for a plug-in: none is loaded before the outputs are looked at.
    let verify = [
        "verify",
        "model.gguf",
        "--delegate",
        "q.gguf",
        "--text",
        "prompts.txt",
    ];
    for (report, input) in [("a", "model.gguf"), ("b", "q.gguf"), ("c", "prompts.txt")] {
        fs::create_dir(home.join(report)).unwrap();
        fs::hard_link(home.join(input), home.join(report).join("report.json")).unwrap();
        say(
            &home,
            &[&verify[..], &["--report", report, "--force"]].concat(),
        )
        .expect(2)
        .complains("the same file");
    }
    assert!(fs::read(home.join("hard.gguf")).unwrap() == tiny::model());
    assert_eq!(fs::read(home.join("prompts.txt")).unwrap(), b"Hi\n");

    // Names that parts of files have had.
    for name in ["out.gguf.part", "pack.gguf.part"] {
        fs::rename(home.join("q.gguf"), home.join(name)).unwrap();
        let before = fs::read(home.join(name)).unwrap();
        let (command, out): (&[&str], _) = match name {
            "out.gguf.part" => (&["quantize", name, "out.gguf", "Q4_0"], "out.gguf"),
            _ => (&["pack", name, "pack.gguf"], "pack.gguf"),
        };
        say(&home, command).expect(0);
        assert!(fs::read(home.join(name)).unwrap() == before);
        say(&home, &["inspect", out]).expect(0);
        fs::rename(home.join(name), home.join("q.gguf")).unwrap();
    }
}

#[test]
fn two_processes_with_one_output_write_a_whole_file() {
    let home = models("two");
    let right = {
        say(&home, &["quantize", "model.gguf", "right.gguf", "Q4_K_M"]).expect(0);
        fs::read(home.join("right.gguf")).unwrap()
    };
    for more in [&[][..], &["--force"]] {
        let _ = fs::remove_file(home.join("out.gguf"));
        let args = [&["quantize", "model.gguf", "out.gguf", "Q4_K_M"], more].concat();
        let codes: Vec<i32> = std::thread::scope(|scope| {
            let runs = [0; 3].map(|_| scope.spawn(|| say(&home, &args).code));
            runs.map(|run| run.join().unwrap()).into()
        });
        // Without --force whoever is late may be refused.
        let is_fine = |code: &i32| *code == 0 || (*code == 2 && more.is_empty());
        assert!(codes.contains(&0) && codes.iter().all(is_fine), "{codes:?}");
        assert!(fs::read(home.join("out.gguf")).unwrap() == right);
        assert_eq!(parts(&home), [] as [&str; 0]);
    }
}

/// The model with a norm of NaN, which makes all its scores NaN.
fn broken() -> Vec<u8> {
    let mut bytes = tiny::model();
    let gguf = Gguf::parse(&bytes).unwrap();
    let norm = gguf.tensor("output_norm.weight").unwrap().data;
    let at = norm.as_ptr() as usize - bytes.as_ptr() as usize;
    let norm = at..at + norm.len();
    bytes[norm].fill(0xff);
    bytes
}

#[test]
fn scores_that_are_none_are_an_error_and_no_file() {
    let home = models("nan-scores");
    fs::write(home.join("nan.gguf"), broken()).unwrap();
    fs::write(home.join("text.txt"), "Hello\n").unwrap();
    for command in [
        &["record", "nan.gguf", "text.txt", "-o", "out.jsonl"][..],
        &["perplexity", "nan.gguf", "-f", "text.txt"],
        &["perplexity", "nan.gguf", "-f", "text.txt", "--json"],
        &["run", "nan.gguf", "Hello", "--raw"],
    ] {
        let said = say(&home, command).expect(1);
        let said = said.complains("no token can be sampled");
        assert_eq!(said.out, "", "{command:?}");
    }
    assert!(!home.join("out.jsonl").exists());
    assert_eq!(parts(&home), [] as [&str; 0]);
}

#[test]
fn a_packed_file_comes_beside_its_model() {
    let home = models("beside");
    fs::create_dir(home.join("in")).unwrap();
    say(&home, &["quantize", "model.gguf", "in/q.gguf", "Q8_0"]).expect(0);
    say(&home, &["pack", "in/q.gguf"]).expect(0);
    assert!(home.join("in/q.packed.gguf").exists() && !home.join("q.packed.gguf").exists());
    say(&home, &["pack", "hello"]).expect(0);
    assert!(home.join("hello.packed.gguf").exists());
}

#[test]
fn pull_takes_names_of_the_catalog() {
    let home = models("pull-names");
    say(&home, &["pull", "hello"])
        .expect(1)
        .complains("built into this program; there is nothing to pull");
    say(&home, &["pull", "model.gguf"])
        .expect(1)
        .complains("is not in the catalog")
        .complains("needs no pull");
}

#[test]
fn an_empty_pipe_is_no_prompt() {
    let home = models("empty-pipe");
    for more in [&[][..], &["--raw"]] {
        let args = [&["run", "model.gguf"], more].concat();
        for input in ["", "\n"] {
            with_input(&home, &args, input.as_bytes())
                .expect(2)
                .complains("the prompt is empty");
        }
    }
}

#[test]
fn errors_do_not_command_the_terminal() {
    let home = models("escapes");
    let mut hostile = tiny::vocabulary_only();
    hostile.set("general.architecture", "\u{1b}[2J\rperceptron");
    fs::write(home.join("hostile.gguf"), hostile.to_vec(&[]).unwrap()).unwrap();
    let shown = say(&home, &["inspect", "hostile.gguf"]).expect(0).out;
    assert!(!shown.contains(['\u{1b}', '\r']), "{shown:?}");
    let said = say(&home, &["run", "hostile.gguf", "x"]).expect(1);
    let said = said.complains("\\u{1b}[2J\\u{d}perceptron");
    assert!(!said.err.contains(['\u{1b}', '\r']), "{:?}", said.err);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn fifo(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn what_is_no_regular_file_is_written_through() {
        let home = models("through");
        fs::write(home.join("prompts.txt"), "Hi\n").unwrap();
        say(&home, &["quantize", "model.gguf", "q.gguf", "Q8_0"]).expect(0);
        say(&home, &["pack", "q.gguf", "p.gguf"]).expect(0);
        let record = ["record", "model.gguf", "prompts.txt", "-n", "1", "-o"];
        say(&home, &[&record[..], &["r.jsonl"]].concat()).expect(0);
        let commands = |out| {
            [
                (vec!["quantize", "model.gguf", out, "Q8_0"], "q.gguf"),
                (vec!["pack", "q.gguf", out], "p.gguf"),
                ([&record[..], &[out]].concat(), "r.jsonl"),
            ]
        };
        let pipe = home.join("pipe");
        fifo(&pipe);
        for (command, right) in commands("pipe") {
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || fs::read(pipe).unwrap()
            });
            say(&home, &command).expect(0);
            assert!(reader.join().unwrap() == fs::read(home.join(right)).unwrap());
            assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        }
        for (command, right) in commands("/dev/stdout") {
            let output = ondol(&home).current_dir(&home).args(&command).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{command:?}");
            assert!(output.stdout == fs::read(home.join(right)).unwrap());
            // The shell's `>>`.
            fs::write(home.join("log"), "before ").unwrap();
            let log = fs::File::options().append(true).open(home.join("log"));
            let mut to_log = ondol(&home);
            to_log
                .current_dir(&home)
                .args(&command)
                .stdout(log.unwrap());
            assert!(to_log.status().unwrap().success());
            let right = fs::read(home.join(right)).unwrap();
            assert!(fs::read(home.join("log")).unwrap() == [b"before ", &right[..]].concat());
        }
        for (command, _) in commands("/dev/null") {
            say(&home, &command).expect(0);
            let kind = fs::metadata("/dev/null").unwrap().file_type();
            assert!(kind.is_char_device());
        }
    }

    #[test]
    fn json_is_printed_beside_what_is_written_through() {
        let home = models("through-json");
        say(&home, &["quantize", "model.gguf", "q.gguf", "Q8_0"]).expect(0);
        let said = say(&home, &["pack", "q.gguf", "/dev/null", "--json"]).expect(0);
        assert_eq!(said.json()["path"], "/dev/null");
        say(&home, &["pack", "q.gguf", "/dev/stdout", "--json"])
            .expect(2)
            .complains("standard output");
    }

    /// Without a limit of time: one that waits for a pipe hangs the test.
    #[test]
    fn pipes_among_the_parts_of_a_model_are_refused() {
        let home = models("pipe-part");
        fs::copy(home.join("model.gguf"), home.join("m-00001-of-00002.gguf")).unwrap();
        fifo(&home.join("m-00002-of-00002.gguf"));
        for command in [
            &["run", "m-00001-of-00002.gguf", "x"][..],
            &["run", "m-00001-of-00002.gguf", "x", "--no-pack"],
            &["inspect", "m-00001-of-00002.gguf"],
            &["quantize", "m-00001-of-00002.gguf", "out.gguf", "Q8_0"],
        ] {
            say(&home, command)
                .expect(1)
                .complains("cannot open m-00002-of-00002.gguf: the path is a pipe");
        }
    }

    #[test]
    fn odd_things_among_the_packed_copies_are_told_and_stay() {
        let home = models("odd-copies");
        say(&home, &["quantize", "model.gguf", "q.gguf", "Q8_0"]).expect(0);
        let run = ["run", "q.gguf", "ab", "--raw", "--max-tokens", "1"];
        say(&home, &run).expect(0);
        let packed = home.join("packed");
        let copy = fs::read_dir(&packed).unwrap().flatten().map(|e| e.path());
        let copy = copy.filter(|path| path.extension().is_some_and(|e| e == "gguf"));
        let copy = copy.last().unwrap();
        let instead = |of: &Path, make: fn(&Path)| {
            fs::rename(of, home.join("aside")).unwrap();
            make(of);
            say(&home, &run)
                .expect(0)
                .complains("without a packed copy");
            say(&home, &["list"]).expect(0);
            let said = say(&home, &["prune"]).expect(0);
            let _ = fs::remove_file(of).or_else(|_| fs::remove_dir(of));
            fs::rename(home.join("aside"), of).unwrap();
            said
        };
        let folder = |path: &Path| fs::create_dir(path).unwrap();
        instead(&copy, fifo);
        instead(&copy, folder);
        instead(&copy.with_extension("json"), fifo).complains("stays: ");
        instead(&copy.with_extension("json"), folder).complains("stays: ");
        fs::remove_file(packed.join(".lock")).unwrap();
        fifo(&packed.join(".lock"));
        say(&home, &["prune"])
            .expect(1)
            .complains("the path is a pipe");
        say(&home, &["list"]).expect(0);
    }

    #[test]
    fn a_limit_of_file_sizes_is_an_error_and_leaves_nothing() {
        let home = models("size-limit");
        say(&home, &["quantize", "model.gguf", "q.gguf", "Q8_0"]).expect(0);
        let limited = |args: &str| {
            let line = format!("ulimit -f 100; exec \"$0\" {args}");
            run(common::shell(&home, &line).current_dir(&home))
        };
        limited("run q.gguf ab --raw --max-tokens 1")
            .expect(0)
            .complains("without a packed copy");
        for args in ["pack q.gguf out.gguf", "quantize model.gguf out.gguf Q4_0"] {
            limited(args).expect(1).complains("File too large");
        }
        assert!(!home.join("out.gguf").exists());
        assert_eq!(parts(&home), [] as [&str; 0]);
        assert_eq!(parts(&home.join("packed")), [] as [&str; 0]);
    }

    #[test]
    fn links_stay_and_what_they_lead_to_is_replaced() {
        let home = models("links");
        fs::create_dir(home.join("folder")).unwrap();
        symlink("folder/real.gguf", home.join("link.gguf")).unwrap();
        let quantize = ["quantize", "model.gguf", "link.gguf", "Q8_0", "--force"];
        for _ in 0..2 {
            say(&home, &quantize).expect(0);
            let link = fs::symlink_metadata(home.join("link.gguf")).unwrap();
            assert!(link.is_symlink());
            say(&home, &["inspect", "folder/real.gguf"]).expect(0);
            let real = home.join("folder/real.gguf");
            fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        }
        let mode = fs::metadata(home.join("folder/real.gguf"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o640);
        assert_eq!(parts(&home.join("folder")), [] as [&str; 0]);
    }

    #[test]
    fn what_a_killed_process_left_goes_with_the_next_output() {
        let home = models("killed");
        fs::write(home.join("big.gguf"), tiny::with_rows(60_000)).unwrap();
        let args = ["quantize", "big.gguf", "out.gguf", "Q3_K_M", "-t", "1"];
        let mut child = ondol(&home).current_dir(&home).args(args).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while parts(&home).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        // A second one at work leaves the first one's part alone.
        say(&home, &["quantize", "model.gguf", "second.gguf", "Q8_0"]).expect(0);
        assert_eq!(parts(&home).len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(parts(&home).len(), 1);
        say(&home, &["quantize", "model.gguf", "third.gguf", "Q8_0"]).expect(0);
        assert_eq!(parts(&home), [] as [&str; 0]);
        assert!(!home.join("out.gguf").exists());
    }

    #[test]
    fn ctrl_c_leaves_nothing() {
        let home = models("ctrl-c");
        fs::write(home.join("big.gguf"), tiny::with_rows(60_000)).unwrap();
        let args = ["quantize", "big.gguf", "out.gguf", "Q3_K_M", "-t", "1"];
        let mut child = ondol(&home).current_dir(&home).args(args).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while parts(&home).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let pid = child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(parts(&home), [] as [&str; 0]);
        assert!(!home.join("out.gguf").exists());
    }
}

/// What is wrong with one part of a split model is told by that part's name.
#[test]
fn the_damaged_part_of_a_split_model_is_named() {
    let home = models("parts");
    let [first, second] = [0, 1_u16].map(|no| {
        let mut writer = match no {
            0 => tiny::vocabulary_only(),
            _ => Writer::new(),
        };
        writer.set("split.no", no);
        writer.set("split.count", 2_u16);
        let name = format!("t{no}");
        writer.add_tensor(&name, DType::F32, &[8]).unwrap();
        writer.to_vec(&[&[0; 32]]).unwrap()
    });
    let names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    let page = b"<!DOCTYPE html><html><body>Sign in</body></html>";
    for (damaged, what) in [
        (&second[..second.len() - 16], "the file is truncated"),
        (&page[..], "not a GGUF file: an HTML page"),
        (&b""[..], "not a GGUF file: an empty file"),
    ] {
        for bad in [0, 1] {
            for (at, whole) in [&first, &second].into_iter().enumerate() {
                let bytes = if at == bad { damaged } else { whole };
                fs::write(home.join(names[at]), bytes).unwrap();
            }
            let what = format!("{}: {what}", names[bad]);
            for opened in names {
                for command in [
                    &["inspect", opened][..],
                    &["tokenize", opened, "x"],
                    &["run", opened, "x"],
                    &["run", "--no-pack", opened, "x"],
                ] {
                    say(&home, command)
                        .expect(1)
                        .complains(&what)
                        .complains("hint: ");
                }
            }
        }
    }
}

/// Every command that opens a file tells these apart.
#[test]
fn hostile_files_are_told_apart() {
    let home = models("hostile");
    let whole = fs::read(home.join("model.gguf")).unwrap();
    fs::write(
        home.join("page.gguf"),
        "<!DOCTYPE html><html><body>Sign in</body></html>",
    )
    .unwrap();
    fs::write(home.join("cut.gguf"), &whole[..whole.len() / 2]).unwrap();
    fs::write(home.join("empty.gguf"), "").unwrap();
    let mut unknown = tiny::vocabulary_only();
    unknown.set("general.architecture", "perceptron");
    fs::write(home.join("architecture.gguf"), unknown.to_vec(&[]).unwrap()).unwrap();
    let name = b"output_norm.weight";
    let mut strange = whole.clone();
    let at = strange.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4 + 8;
    strange[at..at + 4].copy_from_slice(&16_u32.to_le_bytes());
    fs::write(home.join("quant.gguf"), strange).unwrap();
    for (file, what) in [
        ("page.gguf", "an HTML page"),
        ("cut.gguf", "the file is truncated"),
        ("quant.gguf", "the quantization type IQ2_XXS"),
    ] {
        say(&home, &["inspect", file])
            .expect(1)
            .complains(what)
            .complains("hint: ");
        say(&home, &["tokenize", file, "x"])
            .expect(1)
            .complains(what);
        say(&home, &["quantize", file, "out.gguf", "Q8_0"])
            .expect(1)
            .complains(what);
        say(&home, &["run", file, "x"])
            .expect(1)
            .complains(what)
            .complains("hint: ");
    }
    say(&home, &["run", "architecture.gguf", "x"])
        .expect(1)
        .complains("unknown architecture `perceptron`");
    say(&home, &["inspect", "empty.gguf"]).expect(1);
    say(&home, &["run", "empty.gguf", "x"]).expect(1);
    say(&home, &["inspect", "."]).expect(1);
    say(&home, &["inspect", "no-such.gguf"])
        .expect(1)
        .complains("neither a file nor a model of the catalog");
}

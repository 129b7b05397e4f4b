//! Tokenizers against the answers of published code and of an independent engine.
//!
//! The vocabularies of `data/tokenizers` and their answers are committed, others can't be.
//! Those are looked for in the folder `ONDOL_REFERENCE`, else in `../shared/reference` beside
//! the workspace; models are looked for in `ONDOL_MODELS`. What is not there is skipped,
//! and said to be.

use std::fs;
use std::path::{Path, PathBuf};

use ondol_models::gguf::Gguf;
use ondol_models::tokenizer::{EncodeOptions, StreamDecoder, Tokenizer};

/// What ends an input of a `.inp` file.
const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

/// Records, and the models that they were made with.
const RECORDS: &[(&str, &str)] = &[
    (
        "smollm2-135m-q4_1.f32.jsonl",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    ("gemma-3-270m-q4_k_m.f32.jsonl", "gemma-3-270m-q4_k_m.gguf"),
];

fn reference_folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
    let folder = std::env::var_os("ONDOL_REFERENCE").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!(
        "SKIPPED: no reference answers in {}; set ONDOL_REFERENCE",
        folder.display()
    );
    None
}

fn tokenizer(path: &Path) -> Tokenizer {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let gguf = Gguf::parse(&bytes).unwrap();
    Tokenizer::from_gguf(&gguf).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The vocabularies in a folder.
fn vocabularies(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "gguf"))
        .collect();
    files.sort();
    files
}

/// Pushes the tokens one by one, and asserts that this gives the text of them all.
fn assert_stream_decodes(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut decoder = StreamDecoder::new();
    let mut text = String::new();
    for &id in ids {
        decoder.push(tokenizer, id, &mut text);
    }
    decoder.finish(&mut text);
    assert_eq!(text, tokenizer.decode(ids));
    text
}

#[test]
fn ids_are_those_of_the_committed_vocabularies() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tokenizers");
    let vocabularies = vocabularies(&folder);
    assert_eq!(vocabularies.len(), 5);
    vocabularies.iter().for_each(|model| assert_answers(model));
}

#[test]
fn ids_are_those_of_the_reference_vocabularies() {
    if let Some(folder) = reference_folder() {
        let vocabularies = vocabularies(&folder.join("tokenizers"));
        vocabularies.iter().for_each(|model| assert_answers(model));
    }
}

/// Asserts that the texts beside a vocabulary have the ids beside it.
fn assert_answers(model: &Path) {
    let name = model.display();
    let plain = EncodeOptions {
        add_special: false,
        parse_special: false,
    };
    let tokenizer = tokenizer(model);
    let forgets = forgets_text(model);
    let inputs = fs::read_to_string(model.with_extension("gguf.inp")).unwrap();
    let outputs = fs::read_to_string(model.with_extension("gguf.out")).unwrap();
    let inputs = inputs.strip_suffix(SEPARATOR).unwrap_or(&inputs);
    let inputs: Vec<&str> = inputs.split(SEPARATOR).collect();
    let outputs: Vec<&str> = outputs.lines().collect();
    assert_eq!(inputs.len(), outputs.len(), "{name}");
    for (text, line) in inputs.iter().zip(outputs) {
        let expected: Vec<u32> = line
            .split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect();
        let ids = tokenizer.encode(text, plain);
        assert_eq!(ids, expected, "{name}: {text:?}");
        let decoded = assert_stream_decodes(&tokenizer, &ids);
        if !forgets {
            assert_eq!(&decoded, text, "{name}");
        }
    }
    println!("{name}: {} inputs match", inputs.len());
}

/// WordPiece forgets case, accents and space, T5's tokenizer what its normalizer replaces and
/// what no piece covers.
fn forgets_text(model: &Path) -> bool {
    let bytes = fs::read(model).unwrap();
    let gguf = Gguf::parse(&bytes).unwrap();
    ["bert", "t5"].contains(&gguf.str("tokenizer.ggml.model").unwrap())
}

#[test]
fn prompts_of_the_records_have_their_ids() {
    let Some(folder) = reference_folder() else {
        return;
    };
    let Some(models) = std::env::var_os("ONDOL_MODELS").map(PathBuf::from) else {
        println!("SKIPPED: set ONDOL_MODELS to a folder with the models of the records");
        return;
    };
    let all = EncodeOptions {
        add_special: true,
        parse_special: true,
    };
    for (records, model) in RECORDS {
        let tokenizer = tokenizer(&models.join(model));
        let lines = fs::read_to_string(folder.join(records)).unwrap();
        for line in lines.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let prompt = record["prompt"].as_str().unwrap();
            let expected = ids(&record["prompt_ids"]);
            assert_eq!(
                tokenizer.encode(prompt, all),
                expected,
                "{model}: {prompt:?}"
            );
            let steps: Vec<u32> = record["steps"]
                .as_array()
                .unwrap()
                .iter()
                .map(|s| id(&s["id"]))
                .collect();
            let text = assert_stream_decodes(&tokenizer, &steps);
            assert!(text.len() >= steps.len() / 2, "{model}: {text:?}");
        }
        println!("{model}: {} prompts match", lines.lines().count());
    }
}

fn ids(list: &serde_json::Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(id).collect()
}

fn id(value: &serde_json::Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

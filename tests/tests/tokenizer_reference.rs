//! Tokenizers against the answers of published code and of an independent engine.
//!
//! Small vocabularies are committed in `tests/data/tokenizers`. Whole ones can't be. They
//! are looked for in the folder `ONDOL_REFERENCE`, else in `../shared/reference` beside the
//! workspace; models are looked for in `ONDOL_MODELS`. What is not there is skipped, and
//! said to be.

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
fn ids_are_those_of_the_reference_vocabularies() {
    let Some(folder) = reference_folder().map(|f| f.join("tokenizers")) else {
        return;
    };
    for name in ["bert-bge", "gpt-2", "llama-bpe", "llama-spm"] {
        assert_answers(&folder, &format!("ggml-vocab-{name}"));
    }
}

#[test]
fn ids_are_those_of_the_published_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tokenizers");
    for name in ["plamo2", "rwkv-world"] {
        assert_answers(&folder, name);
    }
}

/// Encodes the texts of a vocabulary's `.inp` file, and asserts that the ids are those of
/// its `.out` file and decode to the text.
fn assert_answers(folder: &Path, name: &str) {
    let plain = EncodeOptions {
        add_special: false,
        parse_special: false,
    };
    let model = folder.join(format!("{name}.gguf"));
    let tokenizer = tokenizer(&model);
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
        // WordPiece forgets case, accents and space.
        if !name.ends_with("bert-bge") {
            assert_eq!(&decoded, text, "{name}");
        }
    }
    println!("{name}: {} inputs match", inputs.len());
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

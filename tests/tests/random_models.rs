//! Random models are like the files that a converter makes: their tensors and keys are
//! those of the reference files of the same architecture, and the oracle reads them.
//!
//! Without reference files (`ondol_tests::published`) the first is skipped, and said to be.

use std::collections::BTreeSet;
use std::path::Path;

use ondol_models::gguf::Gguf;
use ondol_tests::oracle::{Cache, Oracle};
use ondol_tests::published;
use ondol_tests::random_model::{FURTHER, further_variants};

/// What published files have and the reference files don't.
const PUBLISHED: [&str; 11] = [
    "attention.q_lora_rank",
    "blk.N.attn_q_a.weight",
    "blk.N.attn_q_a_norm.weight",
    "blk.N.attn_q_b.weight",
    "output.weight",
    // The large ones of StableLM 2.
    "blk.N.attn_q_norm.weight",
    "blk.N.attn_k_norm.weight",
    // Falcon-H1 with norms.
    "blk.N.ssm_norm.weight",
    // OLMo 3 after its training for long contexts.
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
];

/// What random models leave out where it is what follows from other keys.
const IDLE: [&str; 5] = [
    "vocab_size",
    "attention.key_length",
    "attention.value_length",
    "rope.dimension_count",
    "rope.freq_base_swa",
];

fn architecture<'a>(gguf: &Gguf<'a>) -> &'a str {
    gguf.str("general.architecture").expect("a name")
}

/// Names of tensors, with `N` for the layer, and keys without the architecture.
fn names(gguf: &Gguf<'_>) -> BTreeSet<String> {
    let prefix = format!("{}.", architecture(gguf));
    let keys = gguf
        .metadata()
        .iter()
        .filter_map(|(key, _)| key.strip_prefix(&prefix).map(str::to_string));
    let tensors = gguf.tensors().iter().map(|tensor| {
        let mut parts: Vec<&str> = tensor.name.split('.').collect();
        if parts[0] == "blk" {
            parts[1] = "N";
        }
        parts.join(".")
    });
    keys.chain(tensors).collect()
}

/// All names in the reference files of an architecture.
fn reference_names(folder: &Path, of: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "gguf") {
            let bytes = std::fs::read(&path).expect("a file");
            let gguf = Gguf::parse(&bytes).expect("a GGUF file");
            if architecture(&gguf) == of {
                all.extend(names(&gguf));
            }
        }
    }
    all
}

#[test]
fn names_are_those_of_reference_files() {
    let Some(folder) = published::folder() else {
        return;
    };
    let mut wrong = Vec::new();
    for of in FURTHER {
        let reference = reference_names(&folder, of);
        assert!(!reference.is_empty(), "no reference file of {of}");
        let mut all = BTreeSet::new();
        for (_, random) in further_variants() {
            if random.architecture == of {
                all.extend(names(
                    &Gguf::parse(&random.to_bytes()).expect("a GGUF file"),
                ));
            }
        }
        let other = |a: &BTreeSet<String>, b: &BTreeSet<String>, known: &[&str]| -> Vec<String> {
            let unknown = |name: &&String| !known.contains(&name.as_str());
            a.difference(b).filter(unknown).cloned().collect()
        };
        let extra = other(&all, &reference, &PUBLISHED);
        let missing = other(&reference, &all, &IDLE);
        if !extra.is_empty() || !missing.is_empty() {
            wrong.push(format!(
                "{of}: not in reference files {extra:?}, only there {missing:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Logits neither vanish nor explode.
#[test]
fn the_oracle_reads_all() {
    // Three times the window.
    let tokens: Vec<u32> = (0..24).map(|i| (i * 7919 + 13) % 300).collect();
    for (name, random) in further_variants() {
        let logits = Oracle::read(&random.to_bytes()).logits(&tokens, 32, Cache::Full);
        let last = logits.last().expect("a token");
        let squares: f32 = last.iter().map(|logit| logit.powi(2)).sum();
        let size = (squares / last.len() as f32).sqrt();
        assert!((0.3..30.0).contains(&size), "{name}: {size}");
    }
}

//! `ondol inspect`: whether a file runs, also one at an address.

mod common;
#[path = "common/hub.rs"]
mod hub;
#[path = "common/tiny.rs"]
mod tiny;

use common::{Said, folder, ondol, run};
use hub::{Answer, Hub};
use ondol_tests::random_model::RandomModel;
use std::fs;

/// What `ondol inspect` says of a file in a folder.
fn inspect(test: &str, file: &[u8], more: &[&str]) -> Said {
    let home = folder(test);
    fs::write(home.join("model.gguf"), file).unwrap();
    run(ondol(&home)
        .current_dir(&home)
        .args(["inspect", "model.gguf"])
        .args(more))
}

/// What it says of the file at the address of a hub.
fn glance(test: &str, hub: &Hub, more: &[&str]) -> Said {
    let home = folder(test);
    let address = format!("{}/o/r/model.gguf", hub.address());
    run(ondol(&home).args(["inspect", &address]).args(more))
}

/// A file of some megabytes.
fn large() -> RandomModel {
    RandomModel {
        width: 256,
        hidden: 2048,
        ..RandomModel::small("llama")
    }
}

/// The same bytes with another text of the same length in the place of each one.
fn with(file: &[u8], text: &str, other: &str) -> Vec<u8> {
    assert_eq!(text.len(), other.len());
    let mut file = file.to_vec();
    let mut count = 0;
    for at in 0..file.len() - text.len() {
        if &file[at..at + text.len()] == text.as_bytes() {
            file[at..at + text.len()].copy_from_slice(other.as_bytes());
            count += 1;
        }
    }
    assert!(count > 0, "{text} is not in the file");
    file
}

#[test]
fn a_file_that_runs_is_told_first() {
    let said = inspect("runs", &tiny::model(), &[]).expect(0);
    for line in [
        "runs          yes\n",
        "  tensors     llama, 2 layers\n",
        "  tokenizer   gpt2, ",
        "  template    ",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    let json = inspect("runs-json", &tiny::model(), &["--json"])
        .expect(0)
        .json();
    assert_eq!(json["verdict"]["runs"], true);
    assert_eq!(json["verdict"]["tensors"]["ok"], "llama, 2 layers");
    assert_eq!(json["verdict"]["slow"], serde_json::json!([]));
}

#[test]
fn what_is_slow_is_told() {
    let file = RandomModel::small("mamba2").to_bytes();
    let said = inspect("slow", &file, &[]).expect(0);
    assert!(
        said.out.contains("yes, but parts are not at full speed"),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("  slow        linear attention in prompts"),
        "{}",
        said.out
    );
}

#[test]
fn each_fault_is_told() {
    let file = tiny::model();
    let unknown = with(&file, "llama", "lummi");
    let said = inspect("unknown", &unknown, &[]).expect(0);
    assert!(said.out.contains("runs          no\n"), "{}", said.out);
    assert!(
        said.out.contains("  tensors     fault: ") && said.out.contains("`lummi`"),
        "{}",
        said.out
    );
    assert!(said.out.contains("  tokenizer   gpt2"), "{}", said.out);
    let both = with(&unknown, "gpt-2", "gpt-9");
    let json = inspect("both", &both, &["--json"]).expect(0).json();
    let verdict = &json["verdict"];
    assert_eq!(verdict["runs"], false);
    assert!(
        verdict["tensors"]["fault"]
            .as_str()
            .unwrap()
            .contains("lummi")
    );
    assert!(
        verdict["tokenizer"]["fault"]
            .as_str()
            .unwrap()
            .contains("gpt-9")
    );
    assert!(json["cannot_run"].is_string());
}

#[test]
fn a_file_at_an_address_is_judged_by_its_header() {
    let file = large().to_bytes();
    let hub = Hub::start(file.clone(), vec![Answer::Well]);
    let said = glance("glance", &hub, &["--json"])
        .expect(0)
        .complains("only the header");
    let json = said.json();
    assert_eq!(hub.requests().len(), 1);
    assert!(json["path"].as_str().unwrap().starts_with(hub.address()));
    assert_eq!(json["verdict"]["runs"], true);
    let local = inspect("glance-local", &file, &["--json"]).expect(0).json();
    for same in [
        "bytes",
        "parameters",
        "mix",
        "memory",
        "metadata",
        "tensors",
        "verdict",
    ] {
        assert_eq!(json[same], local[same], "{same}");
    }
    // The rest never comes, and is not waited for.
    let hub = Hub::start(file, vec![Answer::Cut(2 << 20)]);
    glance("glance-cut", &hub, &[]).expect(0);
}

#[test]
fn numbers_that_the_graph_needs_are_asked_for() {
    let file = RandomModel {
        factors: vec![("rope_freqs", vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])],
        ..large()
    }
    .to_bytes();
    let hub = Hub::start(file.clone(), vec![Answer::Well]);
    let json = glance("factors", &hub, &["--json"]).expect(0).json();
    assert_eq!(json["verdict"]["runs"], true, "{}", json["verdict"]);
    let requests = hub.requests();
    assert!(
        requests.len() == 2 && requests[1].contains("range: bytes="),
        "{requests:?}"
    );
    let hub = Hub::start(file, vec![Answer::Whole]);
    glance("factors-whole", &hub, &[])
        .expect(1)
        .complains("can't send a part of a file");
}

#[test]
fn what_is_no_model_at_an_address_is_refused() {
    let file = large().to_bytes();
    for (answer, why) in [
        (Answer::Page, "web page"),
        (Answer::Status(404), "status 404"),
        (Answer::Cut(500), "500"),
    ] {
        let hub = Hub::start(file.clone(), vec![answer]);
        glance("no-model", &hub, &[]).expect(1).complains(why);
    }
    let hub = Hub::start(vec![7; 3 << 20], vec![Answer::Well]);
    glance("not-gguf", &hub, &[])
        .expect(1)
        .complains("not a GGUF file");
}

//! Packed files and packed copies: `ondol pack`, and what `ondol run` keeps.

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{Said, folder, ondol, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn say(home: &Path, args: &[&str]) -> Said {
    run(ondol(home).current_dir(home).args(args))
}

/// A folder with a `model.gguf` of Q4_0.
fn model(test: &str) -> PathBuf {
    let home = folder(test);
    fs::write(home.join("plain.gguf"), tiny::model()).unwrap();
    say(&home, &["quantize", "plain.gguf", "model.gguf", "Q4_0"]).expect(0);
    home
}

/// The packed copies in the home folder.
fn copies(home: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(home.join("packed")) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == "gguf"))
        .collect()
}

const ANSWER: [&str; 8] = [
    "run",
    "model.gguf",
    "Hi",
    "--raw",
    "--temperature",
    "0",
    "--max-tokens",
    "5",
];

#[test]
fn pack_writes_a_file_that_runs_the_same_and_says_what_it_is() {
    let home = model("pack");
    let json = say(&home, &["pack", "model.gguf", "--json"])
        .expect(0)
        .json();
    assert_eq!(json["path"], "model.packed.gguf");
    let shown = say(&home, &["inspect", "model.packed.gguf", "--json"])
        .expect(0)
        .json();
    assert_eq!(shown["mix"][0]["type"], "Q4_0 packed");
    assert_eq!(shown["alignment"], 64);
    assert_eq!(
        shown["metadata"]["ondol.packed.source_bytes"],
        fs::metadata(home.join("model.gguf")).unwrap().len()
    );
    let hash = shown["metadata"]["ondol.packed.source_sha256"]
        .as_str()
        .unwrap();
    assert_eq!(hash.len(), 64);

    let plain = say(&home, &[&ANSWER[..], &["--no-pack"]].concat())
        .expect(0)
        .out;
    let mut packed = ANSWER;
    packed[1] = "model.packed.gguf";
    assert_eq!(say(&home, &packed).expect(0).out, plain);
    assert!(copies(&home).is_empty(), "a packed file needs no copy");
}

#[test]
fn pack_refuses_what_it_should_by_name() {
    let home = model("refuse");
    let said = |args: &[&str], code| say(&home, args).expect(code).err;
    assert!(said(&["pack", "plain.gguf"], 1).contains("no tensor of it gains"));
    say(&home, &["pack", "model.gguf", "packed.gguf"]).expect(0);
    let bytes = fs::read(home.join("packed.gguf")).unwrap();
    assert!(said(&["pack", "model.gguf", "packed.gguf"], 2).contains("--force"));
    assert!(said(&["pack", "packed.gguf", "again.gguf"], 1).contains("packed already"));
    assert!(said(&["quantize", "packed.gguf", "q8.gguf", "Q8_0"], 1).contains("packed already"));
    assert!(said(&["pack", "model.gguf", "model.gguf", "--force"], 2).contains("same file"));
    assert_eq!(fs::read(home.join("packed.gguf")).unwrap(), bytes);
    say(&home, &["pack", "model.gguf", "packed.gguf", "--force"]).expect(0);
    assert_eq!(fs::read(home.join("packed.gguf")).unwrap(), bytes);
}

#[test]
fn run_keeps_one_copy_and_makes_another_when_the_model_changes() {
    let home = model("keep");
    let first = say(&home, &ANSWER).expect(0).out;
    let made = copies(&home);
    assert_eq!(made.len(), 1);
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = time(&made[0]);
    assert_eq!(say(&home, &ANSWER).expect(0).out, first);
    assert_eq!((copies(&home), time(&made[0])), (made.clone(), before));

    // The same bytes at a later time: for all that is known, another model.
    let file = fs::File::options()
        .write(true)
        .open(home.join("model.gguf"))
        .unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(9))
        .unwrap();
    assert_eq!(say(&home, &ANSWER).expect(0).out, first);
    let anew = copies(&home);
    assert_eq!(anew.len(), 1);
    assert_ne!(anew, made);
}

#[test]
fn without_a_copy_it_runs_all_the_same() {
    let home = model("none");
    let answer = say(&home, &[&ANSWER[..], &["--no-pack"]].concat())
        .expect(0)
        .out;
    assert!(copies(&home).is_empty());
    let said = run(ondol(&home)
        .current_dir(&home)
        .args(ANSWER)
        .env("ONDOL_NO_PACK", "1"));
    assert_eq!(said.expect(0).out, answer);
    assert!(copies(&home).is_empty());

    // A file where the folder should be.
    fs::write(home.join("packed"), "").unwrap();
    let said = say(&home, &ANSWER).expect(0);
    assert_eq!(said.out, answer);
    assert!(said.err.contains("without a packed copy"), "{}", said.err);
}

#[test]
fn a_damaged_copy_is_removed_and_a_half_written_one_is_replaced() {
    let home = model("damaged");
    let answer = say(&home, &ANSWER).expect(0).out;
    let copy = copies(&home).remove(0);
    let bytes = fs::read(&copy).unwrap();
    fs::write(&copy, &bytes[..bytes.len() / 2]).unwrap();
    let said = say(&home, &ANSWER).expect(0);
    assert_eq!(said.out, answer);
    assert!(said.err.contains("damaged"), "{}", said.err);
    assert!(copies(&home).is_empty());

    // What a killed process left.
    let mut part = copy.clone().into_os_string();
    part.push(".part");
    fs::write(&part, &bytes[..100]).unwrap();
    assert_eq!(say(&home, &ANSWER).expect(0).out, answer);
    assert_eq!(fs::read(&copy).unwrap(), bytes);
    assert!(!Path::new(&part).exists());
}

#[test]
fn two_at_once_make_one_copy() {
    let home = model("two");
    let answers: Vec<String> = std::thread::scope(|scope| {
        let runs = [0; 3].map(|_| scope.spawn(|| say(&home, &ANSWER).expect(0).out));
        runs.map(|run| run.join().unwrap()).into()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(copies(&home).len(), 1);
}

#[test]
fn a_large_head_gets_a_screen_that_can_be_switched_off() {
    let home = folder("screen");
    fs::write(home.join("plain.gguf"), tiny::with_rows(4400)).unwrap();
    say(&home, &["quantize", "plain.gguf", "model.gguf", "Q8_0"]).expect(0);
    let answer = |more: &[&str]| {
        let said = say(&home, &[&ANSWER[..], &["--json"], more].concat());
        said.expect(0).json()
    };
    let screened = answer(&[]);
    let figures = &screened["stats"]["screen"];
    assert_eq!(
        (&figures["audits"], &figures["missed"]),
        (&1.into(), &0.into())
    );
    let tokens = screened["tokens"].as_array().unwrap();
    assert_eq!(figures["screened"], tokens.len() - 1);
    for more in [&["--screen", "off"][..], &["--no-pack"]] {
        let whole = answer(more);
        assert_eq!(whole["tokens"], screened["tokens"]);
        assert!(whole["stats"]["screen"].is_null());
    }
    for wrong in ["-1", "on", "nan"] {
        let option = format!("--screen={wrong}");
        say(&home, &["run", "model.gguf", "Hi", &option]).expect(2);
    }
    let shown = say(&home, &["pack", "model.gguf", "packed.gguf"]);
    shown.expect(0);
    let shown = say(&home, &["inspect", "packed.gguf", "--json"])
        .expect(0)
        .json();
    let plain = say(&home, &["inspect", "model.gguf", "--json"])
        .expect(0)
        .json();
    assert_eq!(shown["parameters"], plain["parameters"]);
    assert!(shown["memory"]["screen"].as_u64() > Some(0));
    assert_eq!(plain["memory"]["screen"], 0);
    let args = [
        "bench",
        "packed.gguf",
        "-p",
        "0",
        "-n",
        "2",
        "-r",
        "1",
        "--json",
    ];
    let screen = |more: &[&str]| {
        let bench = say(&home, &[&args[..], more].concat()).expect(0).json();
        bench["results"][0]["screen"].clone()
    };
    assert!(screen(&[]).is_null());
    assert_eq!(screen(&["--screen", "6"])["screened"], 4);
}

#[test]
fn bench_says_which_layout_it_measured() {
    let home = model("bench");
    let args = [
        "bench",
        "model.gguf",
        "-p",
        "0",
        "-n",
        "2",
        "-r",
        "1",
        "--json",
    ];
    assert_eq!(say(&home, &args).expect(0).json()["model"]["packed"], false);
    let packed = say(&home, &[&args[..], &["--packed"]].concat()).expect(0);
    assert_eq!(packed.json()["model"]["packed"], true);
}

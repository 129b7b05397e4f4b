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
    assert!(said(&["pack", "plain.gguf"], 1).contains("packing would not make this model faster"));
    say(&home, &["pack", "model.gguf", "packed.gguf"]).expect(0);
    let bytes = fs::read(home.join("packed.gguf")).unwrap();
    assert!(said(&["pack", "model.gguf", "packed.gguf"], 2).contains("--force"));
    assert!(said(&["pack", "packed.gguf", "again.gguf"], 1).contains("the file is already packed"));
    assert!(
        said(&["quantize", "packed.gguf", "q8.gguf", "Q8_0"], 1)
            .contains("the file is already packed")
    );
    assert!(said(&["pack", "model.gguf", "model.gguf", "--force"], 2).contains("same file"));
    assert_eq!(fs::read(home.join("packed.gguf")).unwrap(), bytes);
    say(&home, &["pack", "model.gguf", "packed.gguf", "--force"]).expect(0);
    assert_eq!(fs::read(home.join("packed.gguf")).unwrap(), bytes);
}

/// Puts the time of change of a file into the past: always the same.
fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    file.set_modified(time).unwrap();
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// The right answer of `model.gguf`, which no copy has a part in.
fn truth(home: &Path) -> String {
    let said = say(home, &[&ANSWER[..], &["--no-pack"]].concat());
    said.expect(0).out
}

/// Gives `model.gguf` other weights of the same size.
fn change(home: &Path) {
    let old = truth(home);
    let mut bytes = fs::read(home.join("plain.gguf")).unwrap();
    // Weights of the last layers in another order.
    let (start, end) = (bytes.len() / 2 / 4 * 4, bytes.len() / 4 * 4);
    for place in (start..end - 64).step_by(64) {
        for byte in 0..4 {
            bytes.swap(place + byte, place + 32 + byte);
        }
    }
    fs::write(home.join("other.gguf"), bytes).unwrap();
    let quantize = ["quantize", "other.gguf", "model.gguf", "Q4_0", "--force"];
    say(home, &quantize).expect(0);
    assert_ne!(truth(home), old, "the test's two models answer the same");
}

#[test]
fn run_keeps_one_copy_and_makes_another_when_the_model_changes() {
    let home = model("keep");
    let first = say(&home, &ANSWER).expect(0).complains("packed copy");
    let made = copies(&home);
    assert_eq!(made.len(), 1);
    let before = modified(&made[0]);
    let again = say(&home, &ANSWER).expect(0);
    assert_eq!((&again.out, again.err.as_str()), (&first.out, ""));
    assert_eq!((copies(&home), modified(&made[0])), (made.clone(), before));

    // The same bytes at another time.
    age(&home.join("model.gguf"));
    assert_eq!(say(&home, &ANSWER).expect(0).out, first.out);
    assert_eq!((copies(&home), modified(&made[0])), (made.clone(), before));

    // Other bytes of the same size at the same time.
    change(&home);
    age(&home.join("model.gguf"));
    let right = truth(&home);
    assert_eq!(say(&home, &ANSWER).expect(0).out, right);
    assert_eq!(copies(&home).len(), 1);
}

#[test]
fn a_damaged_copy_is_made_again_before_it_answers() {
    let home = model("damaged");
    let answer = say(&home, &ANSWER).expect(0).out;
    let copy = copies(&home).remove(0);
    let whole = fs::read(&copy).unwrap();
    let half = whole.len() / 2;
    let mut zeroed = whole.clone();
    zeroed[half..half + 40 * 4096].fill(0);
    let mut flipped = whole.clone();
    flipped[half + 12_345] ^= 4;
    for damaged in [&zeroed, &flipped, &whole[..half].to_vec(), &Vec::new()] {
        fs::write(&copy, damaged).unwrap();
        age(&copy);
        let said = say(&home, &ANSWER).expect(0).complains("is damaged");
        assert_eq!(said.out, answer);
        assert!(fs::read(&copy).unwrap() == whole);
    }
}

#[test]
fn a_copy_that_can_not_be_read_is_left_as_it_is() {
    let home = model("unreadable");
    let answer = say(&home, &ANSWER).expect(0).out;
    let copy = copies(&home).remove(0);
    let aside = home.join("aside.gguf");
    fs::rename(&copy, &aside).unwrap();
    // To open a folder works, to read it fails.
    fs::create_dir(&copy).unwrap();
    let said = say(&home, &ANSWER).expect(0);
    assert_eq!(said.out, answer);
    assert!(
        said.err.contains("without a packed copy") && !said.err.contains("damaged"),
        "{}",
        said.err
    );
    fs::remove_dir(&copy).unwrap();
    fs::rename(&aside, &copy).unwrap();
    let said = say(&home, &ANSWER).expect(0);
    assert_eq!((said.out, said.err.as_str()), (answer, ""));
}

#[test]
fn what_is_wrong_with_a_model_is_said_once() {
    let home = model("once");
    fs::write(home.join("model.gguf"), "no model").unwrap();
    let said = say(&home, &ANSWER).expect(1);
    let told = said.err.matches("not a GGUF file").count();
    assert!(told == 1 && !said.err.contains("packed"), "{}", said.err);
}

#[cfg(unix)]
#[test]
fn a_file_has_one_copy_whatever_links_lead_to_it() {
    let home = model("links");
    let answer = say(&home, &ANSWER).expect(0).out;
    std::os::unix::fs::symlink("model.gguf", home.join("link.gguf")).unwrap();
    fs::create_dir(home.join("folder")).unwrap();
    std::os::unix::fs::symlink(home.join("link.gguf"), home.join("folder/2.gguf")).unwrap();
    for path in ["link.gguf", "folder/2.gguf", "./folder/../model.gguf"] {
        let mut args = ANSWER;
        args[1] = path;
        let said = say(&home, &args).expect(0);
        assert_eq!((said.out, said.err.as_str()), (answer.clone(), ""));
    }
    assert_eq!(copies(&home).len(), 1);
    say(&home, &["rm", "folder/2.gguf"]).expect(0);
    assert!(copies(&home).is_empty() && home.join("model.gguf").exists());
}

#[test]
fn copies_are_listed_removed_and_pruned() {
    let home = model("list");
    for name in ["a.gguf", "b.gguf", "c.gguf"] {
        fs::copy(home.join("model.gguf"), home.join(name)).unwrap();
        let mut args = ANSWER;
        args[1] = name;
        say(&home, &args).expect(0);
    }
    let listed = || {
        let all = say(&home, &["list", "--json"]).expect(0).json();
        let copies = all["copies"].as_array().unwrap().clone();
        let mut copies: Vec<(String, String, u64)> = copies
            .iter()
            .map(|copy| {
                let source = Path::new(copy["source"].as_str().unwrap());
                (
                    source.file_name().unwrap().to_str().unwrap().to_owned(),
                    copy["state"].as_str().unwrap().to_owned(),
                    copy["bytes"].as_u64().unwrap(),
                )
            })
            .collect();
        copies.sort();
        copies
    };
    let bytes = fs::metadata(&copies(&home)[0]).unwrap().len();
    let copy = |name: &str, state: &str| (name.to_owned(), state.to_owned(), bytes);
    assert_eq!(
        listed(),
        [
            copy("a.gguf", "current"),
            copy("b.gguf", "current"),
            copy("c.gguf", "current")
        ]
    );
    let table = say(&home, &["list"]).expect(0).out;
    assert!(table.contains("packed copies, in"), "{table}");
    assert!(
        table
            .lines()
            .any(|l| l.contains("current") && l.ends_with("b.gguf")),
        "{table}"
    );

    fs::remove_file(home.join("a.gguf")).unwrap();
    let mut other = fs::read(home.join("b.gguf")).unwrap();
    let last = other.len() - 1;
    other[last] ^= 1;
    fs::write(home.join("b.gguf"), other).unwrap();
    assert_eq!(
        listed(),
        [
            copy("a.gguf", "orphaned"),
            copy("b.gguf", "stale"),
            copy("c.gguf", "current")
        ]
    );
    // Of a killed process, and of an older version.
    let packed = home.join("packed");
    let left = [
        ".ondol-0011223344556677.part",
        "x-00-11.gguf.part",
        "x-00-11.gguf",
        "x-00.lock",
    ];
    for name in left {
        fs::write(packed.join(name), "left").unwrap();
    }
    let said = say(&home, &["prune"]).expect(0).out;
    assert!(said.contains("were freed"), "{said}");
    assert_eq!(listed(), [copy("c.gguf", "current")]);
    assert!(left.iter().all(|name| !packed.join(name).exists()));
    // A touched source is the same source.
    age(&home.join("c.gguf"));
    say(&home, &["prune"]).expect(0);
    assert_eq!(listed(), [copy("c.gguf", "current")]);

    let refused = |name: &str, code, why: &str| {
        say(&home, &["rm", name]).expect(code).complains(why);
    };
    refused("b.gguf", 1, "has no packed copy");
    refused("hello", 1, "built into this program");
    refused("nothing.gguf", 1, "not in the catalog");
    fs::remove_file(home.join("c.gguf")).unwrap();
    say(&home, &["rm", "c.gguf"]).expect(0);
    assert_eq!(listed(), []);
}

#[test]
fn packed_copies_keep_a_limit() {
    let home = model("limit");
    let limited = |limit: &str| {
        let args = [&ANSWER[..], &["--pack-limit", limit]].concat();
        say(&home, &args)
    };
    let said = limited("1kB").expect(0).complains("--pack-limit");
    assert!(said.err.contains("without a packed copy"), "{}", said.err);
    assert!(copies(&home).is_empty());
    assert_eq!(limited("none").expect(0).out, said.out);
    let first = copies(&home);
    let bytes = fs::metadata(&first[0]).unwrap().len();

    // As a variable, and for one copy alone.
    fs::copy(home.join("model.gguf"), home.join("other.gguf")).unwrap();
    let mut other = ANSWER;
    other[1] = "other.gguf";
    let mut command = ondol(&home);
    command.env("ONDOL_PACK_LIMIT", bytes.to_string());
    let said = run(command.current_dir(&home).args(other)).expect(0);
    said.complains("removed the packed copy");
    let second = copies(&home);
    assert!(second.len() == 1 && second != first);

    let said = say(&home, &["prune", "--pack-limit", "0"]).expect(0).out;
    assert!(said.contains("were freed") && copies(&home).is_empty());
    for wrong in ["-1", "much", "4XB"] {
        limited(wrong).expect(2).complains("a size such as");
    }
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

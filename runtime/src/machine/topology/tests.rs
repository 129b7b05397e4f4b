//! File trees written by hand, based on public information about the devices.

use super::*;
use std::collections::HashMap;
use std::string::ToString;

struct Tree(HashMap<String, String>);

impl Tree {
    fn new(online: &str) -> Tree {
        Tree(HashMap::from([(
            "online".into(),
            std::format!("{online}\n"),
        )]))
    }

    fn with(mut self, measure: Measure, strengths: &[u64]) -> Tree {
        for (core, strength) in strengths.iter().enumerate() {
            self.0
                .insert(measure.path(core), std::format!("{strength}\n"));
        }
        self
    }

    fn set(mut self, name: &str, text: &str) -> Tree {
        self.0.insert(name.to_string(), text.to_string());
        self
    }

    fn big(&self) -> Vec<usize> {
        self.big_among(|_| true)
    }

    fn big_among(&self, allowed: impl Fn(usize) -> bool) -> Vec<usize> {
        big_cores(|name| self.0.get(name).cloned(), allowed)
    }
}

/// Snapdragon 845: four Cortex-A55 and four A75.
fn four_and_four() -> Tree {
    Tree::new("0-7").with(
        Measure::Capacity,
        &[381, 381, 381, 381, 1024, 1024, 1024, 1024],
    )
}

#[test]
fn phones_by_capacity() {
    assert_eq!(four_and_four().big(), [4, 5, 6, 7]);
    // Snapdragon 855: four A55, three A76, one A76 that runs faster.
    let one_three_four = Tree::new("0-7").with(
        Measure::Capacity,
        &[306, 306, 306, 306, 871, 871, 871, 1024],
    );
    assert_eq!(one_three_four.big(), [4, 5, 6, 7]);
    // Tensor G1: four A55, two A76, two X1.
    let two_two_four = Tree::new("0-7").with(
        Measure::Capacity,
        &[250, 250, 250, 250, 620, 620, 1024, 1024],
    );
    assert_eq!(two_two_four.big(), [4, 5, 6, 7]);
    // Helio G99: six A55, two A76.
    let two_and_six = Tree::new("0-7").with(
        Measure::Capacity,
        &[417, 417, 417, 417, 417, 417, 1024, 1024],
    );
    assert_eq!(two_and_six.big(), [6, 7]);
}

/// If the capacity is not reported, the frequency is used.
#[test]
fn phones_by_frequency() {
    let kilohertz = [
        1_785_600, 1_785_600, 1_785_600, 1_785_600, 2_419_200, 2_419_200, 2_419_200, 2_841_600,
    ];
    let one_three_four = Tree::new("0-7").with(Measure::Frequency, &kilohertz);
    assert_eq!(one_three_four.big(), [4, 5, 6, 7]);
    // A board of four equal cores.
    let board = Tree::new("0-3").with(Measure::Frequency, &[1_800_000; 4]);
    assert_eq!(board.big(), [0, 1, 2, 3]);
    // A desktop CPU whose best two cores run a little faster.
    let desktop = Tree::new("0-3").with(
        Measure::Frequency,
        &[5_100_000, 5_100_000, 4_900_000, 4_900_000],
    );
    assert_eq!(desktop.big(), [0, 1, 2, 3]);
}

/// A virtual x86 machine reports only which cores there are.
#[test]
fn equal_cores() {
    assert_eq!(Tree::new("0-1").big(), [0, 1]);
    assert_eq!(Tree::new("0").big(), [0]);
    let possible = Tree(HashMap::new()).set("possible", "0-2");
    assert_eq!(possible.big(), [0, 1, 2]);
}

/// The mask applies first: big cores are chosen among the allowed ones.
#[test]
fn allowed_cores() {
    let tree = four_and_four();
    assert_eq!(tree.big_among(|id| id < 6), [4, 5]);
    assert_eq!(tree.big_among(|id| id < 4), [0, 1, 2, 3]);
    assert!(tree.big_among(|_| false).is_empty());
    // Two of the big cores are offline.
    let saving = four_and_four().set("online", "0-4,6");
    assert_eq!(saving.big(), [4, 6]);
}

/// If information is missing or invalid, all cores count as big.
#[test]
fn missing_and_hostile_files() {
    assert!(Tree(HashMap::new()).big().is_empty());
    let gap = four_and_four().set("cpu5/cpu_capacity", "");
    assert_eq!(gap.big(), [0, 1, 2, 3, 4, 5, 6, 7]);
    for text in ["-5", "x", "99999999999999999999999", "1024 1024", "\0"] {
        let tree = four_and_four().set("cpu7/cpu_capacity", text);
        assert_eq!(tree.big().len(), 8, "{text:?}");
    }
    let huge = four_and_four().set("cpu7/cpu_capacity", "18446744073709551615");
    assert_eq!(huge.big(), [7]);
    let zeros = Tree::new("0-1").with(Measure::Capacity, &[0, 0]);
    assert_eq!(zeros.big(), [0, 1]);
    for online in [
        "",
        "-",
        "3-0",
        "0-",
        "-3",
        "0,,1",
        "a-b",
        "0-99999999999",
        "0-1024",
        "1,0",
        "0-3,2",
        "0-18446744073709551615",
        "0-3;4",
    ] {
        assert_eq!(parse_list(online), None, "{online:?}");
        assert_eq!(Tree::new(online).set("possible", "0-1").big(), [0, 1]);
    }
    assert_eq!(parse_list("0-1,4,6-7\n"), Some(std::vec![0, 1, 4, 6, 7]));
}

#[test]
fn there_is_a_thread() {
    let share = std::thread::available_parallelism().map_or(1, usize::from);
    assert!((1..=share).contains(&default_threads()));
}

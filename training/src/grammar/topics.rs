//! What people say to the model, and what it answers.
//!
//! In templates `{0}`, `{1}` and so on stand for the words of an item, and
//! `(은/는)` for the particle that fits.

use super::Language;
use super::facts::{CAPITALS, COLORS, DAYS, NAMES, OPPOSITES, WORDS};
use super::knowledge::*;
use super::talk::*;
use crate::rng::Rng;

/// The words of an item in each language, in the order of [`Language`].
pub type Item = [Vec<String>; 2];

/// How one language speaks about a topic.
pub struct Phrases {
    /// What the user says.
    pub questions: &'static [&'static str],
    /// What the user says after a question of the same topic; may be empty.
    pub follow_ups: &'static [&'static str],
    /// What the model answers.
    pub answers: &'static [&'static str],
    /// What must occur in a right answer.
    pub key: &'static str,
    /// Sentences for plain text; may be empty.
    pub statements: &'static [&'static str],
    /// Later questions about the same item; may be empty.
    pub recalls: &'static [&'static str],
    /// What the model answers to those.
    pub recall_answer: &'static str,
}

impl Phrases {
    /// Nothing to say.
    pub const NONE: Phrases = Phrases {
        questions: &[],
        follow_ups: &[],
        answers: &[],
        key: "",
        statements: &[],
        recalls: &[],
        recall_answer: "",
    };
}

/// Something to talk about.
pub struct Topic {
    /// How often it comes up.
    pub weight: usize,
    /// Phrases, in the order of [`Language`].
    pub phrases: [Phrases; 2],
    /// What fills the templates; never empty.
    pub items: Vec<Item>,
}

impl Topic {
    /// The phrases of one language.
    pub fn phrases(&self, language: Language) -> &Phrases {
        &self.phrases[language as usize]
    }
}

fn words(items: &[&str]) -> Vec<String> {
    items.iter().map(|word| (*word).to_string()).collect()
}

fn no_words() -> Vec<Item> {
    vec![[Vec::new(), Vec::new()]]
}

/// Items of a table whose rows are two English words and two Korean ones.
fn pairs(table: &[[&str; 4]]) -> Vec<Item> {
    table
        .iter()
        .map(|[a, b, c, d]| [words(&[a, b]), words(&[c, d])])
        .collect()
}

/// Items of a table of words and translations: both languages see both.
fn translations(table: &[[&str; 2]]) -> Vec<Item> {
    table.iter().map(|row| [words(row), words(row)]).collect()
}

/// The same words in both languages.
fn both(item: &[String]) -> Item {
    [item.to_vec(), item.to_vec()]
}

fn neighbours(step: usize) -> Vec<Item> {
    let next = |i: usize| (i + step) % DAYS.len();
    let item = |i: usize, language: usize| words(&[DAYS[i][language], DAYS[next(i)][language]]);
    (0..DAYS.len()).map(|i| [item(i, 0), item(i, 1)]).collect()
}

fn sums() -> Vec<Item> {
    let pairs = (1..=10).flat_map(|a| (1..=10).map(move |b| [a, b, a + b]));
    pairs
        .map(|numbers| both(&numbers.map(|n| n.to_string())))
        .collect()
}

fn differences() -> Vec<Item> {
    let pairs = (1..=10).flat_map(|a| (1..=a).map(move |b| [a, b, a - b]));
    pairs
        .map(|numbers| both(&numbers.map(|n: i32| n.to_string())))
        .collect()
}

fn counts() -> Vec<Item> {
    let ranges = (1..=8).flat_map(|a| (a + 2..=10).map(move |b| (a, b)));
    let list = |a: i32, b: i32| {
        (a..=b)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    ranges
        .map(|(a, b)| both(&[a.to_string(), b.to_string(), list(a, b)]))
        .collect()
}

fn names() -> Vec<Item> {
    NAMES
        .iter()
        .map(|[english, korean]| [words(&[english]), words(&[korean])])
        .collect()
}

/// Words that mean nothing, so that the model learns to say that it does not know a word.
fn nonsense() -> Vec<Item> {
    let mut rng = Rng::new(7);
    (0..400)
        .map(|_| {
            [
                vec![english_nonsense(&mut rng)],
                vec![korean_nonsense(&mut rng)],
            ]
        })
        .collect()
}

fn english_nonsense(rng: &mut Rng) -> String {
    let (consonants, vowels) = (b"bcdfghjklmnprstvwz", b"aeiou");
    let syllables = 2 + rng.below(2);
    (0..syllables * 2)
        .map(|i| {
            char::from(if i % 2 == 0 {
                rng.pick(consonants)
            } else {
                rng.pick(vowels)
            })
        })
        .collect()
}

fn korean_nonsense(rng: &mut Rng) -> String {
    let syllables = 2 + rng.below(2);
    (0..syllables)
        .filter_map(|_| char::from_u32(0xAC00 + rng.below(11_172) as u32))
        .collect()
}

/// Every topic.
pub fn all() -> Vec<Topic> {
    let topic = |weight, items, english, korean| Topic {
        weight,
        items,
        phrases: [english, korean],
    };
    vec![
        topic(4, no_words(), greeting_en(), greeting_ko()),
        topic(5, no_words(), identity_en(), identity_ko()),
        topic(5, no_words(), ondol_en(), ondol_ko()),
        topic(2, no_words(), ability_en(), ability_ko()),
        topic(2, no_words(), thanks_en(), thanks_ko()),
        topic(2, no_words(), farewell_en(), farewell_ko()),
        topic(8, pairs(&CAPITALS), capital_en(), capital_ko()),
        topic(4, pairs(&CAPITALS), country_en(), country_ko()),
        topic(6, pairs(&COLORS), color_en(), color_ko()),
        topic(3, neighbours(1), day_after_en(), day_after_ko()),
        topic(3, neighbours(6), day_before_en(), day_before_ko()),
        topic(10, sums(), sum_en(), sum_ko()),
        topic(8, differences(), difference_en(), difference_ko()),
        topic(4, counts(), count_en(), count_ko()),
        topic(7, translations(&WORDS), to_korean_en(), to_korean_ko()),
        topic(7, translations(&WORDS), to_english_en(), to_english_ko()),
        topic(4, pairs(&OPPOSITES), opposite_en(), opposite_ko()),
        topic(4, names(), name_en(), name_ko()),
        topic(5, nonsense(), unknown_en(), unknown_ko()),
    ]
}

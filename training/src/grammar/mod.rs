//! The text that the model is trained on: dialogs and plain sentences in
//! Korean and English, made from templates and tables.
//!
//! | file | job |
//! | --- | --- |
//! | `facts` | tables of words |
//! | `talk`, `knowledge` | templates of questions and answers |
//! | `topics` | which templates go with which table |
//! | `particles` | Korean particles that depend on the sound before them |
//!
//! One in [`HELD_OUT`] pairs of a question's form and what it is about never
//! occurs in training. The model has seen the form with other items and the
//! item in other forms, so that only what it learned can answer.

mod facts;
mod knowledge;
mod particles;
mod talk;
mod topics;

use crate::rng::Rng;
use topics::{Item, Phrases, Topic};

/// One in this many pairs of form and item is kept for the evaluation.
const HELD_OUT: u64 = 10;

/// The languages that the model speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Korean.
    Korean,
}

/// A run of text, and whether the model is to learn to write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The text, control tokens spelled out.
    pub text: String,
    /// False for the text of the user and of the system message.
    pub learned: bool,
}

/// A question that was kept from training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiz {
    /// What the user asks.
    pub question: String,
    /// What must occur in the answer.
    pub key: String,
    /// The whole dialog, as training text.
    pub document: Vec<Segment>,
}

/// Which pairs of form and item may be drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Training,
    HeldOut,
}

/// One question and its answer.
struct Exchange {
    question: String,
    answer: String,
    key: String,
}

/// Makes text.
pub struct Grammar {
    topics: Vec<Topic>,
    rng: Rng,
}

impl Grammar {
    /// A grammar whose text depends on this seed alone.
    pub fn new(seed: u64) -> Grammar {
        Grammar {
            topics: topics::all(),
            rng: Rng::new(seed),
        }
    }

    /// A dialog or a few plain sentences.
    pub fn document(&mut self) -> Vec<Segment> {
        let language = self.language();
        match self.rng.below(100) {
            0..15 => self.sentences(language),
            15..25 => self.introduction(language),
            _ => self.dialog(language),
        }
    }

    /// A question that never occurs in training.
    pub fn quiz(&mut self) -> Quiz {
        let language = self.language();
        loop {
            let topic = self.topic();
            if let Some((_, exchange)) = self.exchange(topic, language, Part::HeldOut, false) {
                let mut document = Vec::new();
                push_exchange(&mut document, &exchange);
                return Quiz {
                    question: exchange.question,
                    key: exchange.key,
                    document,
                };
            }
        }
    }

    fn language(&mut self) -> Language {
        self.rng.pick(&[Language::English, Language::Korean])
    }

    fn topic(&mut self) -> usize {
        let total = self.topics.iter().map(|topic| topic.weight).sum();
        let mut left = self.rng.below(total);
        let heavier = |topic: &Topic| match left.checked_sub(topic.weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        };
        self.topics.iter().position(heavier).unwrap_or_default()
    }

    /// One to four exchanges; some stay with a topic, and few change the language.
    fn dialog(&mut self, language: Language) -> Vec<Segment> {
        let mut document = self.system();
        let (mut language, mut topic, mut follows) = (language, self.topic(), false);
        for _ in 0..1 + self.rng.below(4) {
            let exchange = loop {
                if let Some((_, exchange)) = self.exchange(topic, language, Part::Training, follows)
                {
                    break exchange;
                }
            };
            push_exchange(&mut document, &exchange);
            if self.rng.chance(8) {
                language = self.language();
            }
            follows =
                self.rng.chance(30) && !self.topics[topic].phrases(language).follow_ups.is_empty();
            if !follows {
                topic = self.topic();
            }
        }
        document
    }

    /// A dialog in which the user says something that the model has to recall later.
    fn introduction(&mut self, language: Language) -> Vec<Segment> {
        let recalls = |topic: &Topic| !topic.phrases(language).recalls.is_empty();
        let topic = self.topics.iter().position(recalls).unwrap_or_default();
        let mut document = Vec::new();
        let item = loop {
            if let Some((item, exchange)) = self.exchange(topic, language, Part::Training, false) {
                push_exchange(&mut document, &exchange);
                break item;
            }
        };
        for _ in 0..self.rng.below(3) {
            let topic = self.topic();
            if self.topics[topic].phrases(language).recalls.is_empty()
                && let Some((_, exchange)) = self.exchange(topic, language, Part::Training, false)
            {
                push_exchange(&mut document, &exchange);
            }
        }
        let phrases = self.topics[topic].phrases(language);
        let words = &self.topics[topic].items[item][language as usize];
        let question = fill(self.rng.pick(phrases.recalls), words, language);
        let answer = fill(phrases.recall_answer, words, language);
        push_exchange(
            &mut document,
            &Exchange {
                question,
                answer,
                key: String::new(),
            },
        );
        document
    }

    /// Sometimes a system message, so that one does not confuse the model.
    fn system(&mut self) -> Vec<Segment> {
        const MESSAGES: [&str; 4] = [
            "You are a helpful assistant.",
            "Answer briefly.",
            "당신은 친절한 도우미입니다.",
            "짧게 답해 주세요.",
        ];
        if !self.rng.chance(8) {
            return Vec::new();
        }
        let text = format!(
            "<|im_start|>system\n{}<|im_end|>\n",
            self.rng.pick(&MESSAGES)
        );
        vec![Segment {
            text,
            learned: false,
        }]
    }

    /// A few plain sentences, without the marks of a dialog.
    fn sentences(&mut self, language: Language) -> Vec<Segment> {
        let mut sentences = Vec::new();
        while sentences.is_empty() || self.rng.chance(60) {
            let topic = self.topic();
            let topic = &self.topics[topic];
            let statements = topic.phrases(language).statements;
            if !statements.is_empty() {
                let words = &topic.items[self.rng.below(topic.items.len())][language as usize];
                sentences.push(fill(self.rng.pick(statements), words, language));
            }
        }
        vec![Segment {
            text: sentences.join(" ") + "<|endoftext|>",
            learned: true,
        }]
    }

    /// An exchange and the number of its item, or `None` where the pair drawn is
    /// not of this part.
    fn exchange(
        &mut self,
        topic: usize,
        language: Language,
        part: Part,
        follows: bool,
    ) -> Option<(usize, Exchange)> {
        let Topic { items, .. } = &self.topics[topic];
        let phrases = self.topics[topic].phrases(language);
        let forms = if follows {
            phrases.follow_ups
        } else {
            phrases.questions
        };
        let (form, item) = (self.rng.below(forms.len()), self.rng.below(items.len()));
        let held_out = items.len() > 1 && !follows && is_held_out(topic, language, form, item);
        if held_out != (part == Part::HeldOut) {
            return None;
        }
        let words = &items[item];
        let answer = self.rng.pick(phrases.answers);
        let mut exchange = Exchange::new(phrases, forms[form], answer, words, language);
        if part == Part::Training {
            exchange.question = careless(exchange.question, &mut self.rng);
        }
        Some((item, exchange))
    }
}

impl Exchange {
    fn new(
        phrases: &Phrases,
        question: &str,
        answer: &str,
        item: &Item,
        language: Language,
    ) -> Exchange {
        let words = &item[language as usize];
        let fill = |template| fill(template, words, language);
        // A key may begin inside of a sentence, so that it keeps its case.
        Exchange {
            question: fill(question),
            answer: fill(answer),
            key: substitute(phrases.key, words),
        }
    }
}

fn is_held_out(topic: usize, language: Language, form: usize, item: usize) -> bool {
    let pair = [topic, language as usize, form, item]
        .iter()
        .fold(0, |sum, &n| sum * 1000 + n as u64);
    Rng::new(pair).bits().is_multiple_of(HELD_OUT)
}

/// The template with the words put in, and in English a capital letter first.
fn fill(template: &str, words: &[String], language: Language) -> String {
    let text = substitute(template, words);
    match language {
        Language::English => capitalized(&text),
        Language::Korean => text,
    }
}

fn substitute(template: &str, words: &[String]) -> String {
    let put = |text: String, (i, word): (usize, &String)| text.replace(&format!("{{{i}}}"), word);
    particles::resolve(&words.iter().enumerate().fold(template.to_string(), put))
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// A question as people type it: now and then without its mark, or in lower case.
fn careless(question: String, rng: &mut Rng) -> String {
    let question = match rng.below(100) {
        0..20 => question.trim_end_matches(['?', '.', '!']).to_string(),
        _ => question,
    };
    if rng.chance(12) {
        question.to_lowercase()
    } else {
        question
    }
}

fn push_exchange(document: &mut Vec<Segment>, exchange: &Exchange) {
    let question = format!(
        "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        exchange.question
    );
    document.push(Segment {
        text: question,
        learned: false,
    });
    document.push(Segment {
        text: format!("{}<|im_end|>", exchange.answer),
        learned: true,
    });
    document.push(Segment {
        text: "\n".into(),
        learned: false,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_text() {
        let text = |seed| {
            (0..50)
                .map(|_| 0)
                .scan(Grammar::new(seed), |g, _| Some(g.document()))
                .collect::<Vec<_>>()
        };
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn templates_are_filled() {
        let mut grammar = Grammar::new(3);
        for _ in 0..3000 {
            for segment in grammar.document() {
                assert!(
                    !segment.text.contains(['{', '}', '(', '/']),
                    "{}",
                    segment.text
                );
            }
        }
    }

    #[test]
    fn quizzes_hold_their_key_and_stay_out_of_training() {
        let mut grammar = Grammar::new(4);
        let quizzes: Vec<Quiz> = (0..100).map(|_| grammar.quiz()).collect();
        let training: Vec<Segment> = (0..3000).flat_map(|_| grammar.document()).collect();
        for quiz in quizzes {
            assert!(quiz.document[1].text.contains(&quiz.key), "{quiz:?}");
            let asked = training
                .iter()
                .any(|s| !s.learned && s.text == quiz.document[0].text);
            assert!(!asked, "{quiz:?}");
        }
    }
}

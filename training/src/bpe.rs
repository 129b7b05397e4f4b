//! Learns the vocabulary: byte-level BPE (Sennrich et al., 2016; the alphabet of GPT-2).

use std::collections::BTreeMap;

/// Tokens that mark documents and turns, after all others.
pub const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// A vocabulary as GGUF stores it.
pub struct Vocabulary {
    /// Bytes, then merged pieces, then [`CONTROL`].
    pub tokens: Vec<String>,
    /// Pairs in the order in which they merge, spelled "left right".
    pub merges: Vec<String>,
}

/// Learns a vocabulary of `size` tokens from text without control tokens.
///
/// The most frequent pair merges first; of equally frequent ones, the first in
/// the order of bytes, so that the outcome is always the same.
pub fn learn(texts: impl Iterator<Item = String>, size: usize) -> Vocabulary {
    let mut words = count_words(texts);
    let mut tokens: Vec<String> = (0..=u8::MAX)
        .map(|byte| byte_to_char(byte).to_string())
        .collect();
    let mut merges = Vec::new();
    while tokens.len() + CONTROL.len() < size {
        let Some((left, right)) = most_frequent_pair(&words) else {
            break;
        };
        merges.push(format!("{left} {right}"));
        tokens.push(format!("{left}{right}"));
        words
            .iter_mut()
            .for_each(|(word, _)| merge(word, &left, &right));
    }
    tokens.extend(CONTROL.map(String::from));
    Vocabulary { tokens, merges }
}

/// How often each word occurs, each spelled in single bytes.
fn count_words(texts: impl Iterator<Item = String>) -> Vec<(Vec<String>, u64)> {
    let mut counts = BTreeMap::<String, u64>::new();
    for text in texts {
        for word in split(&text) {
            *counts.entry(word).or_default() += 1;
        }
    }
    let spell = |word: String| {
        word.bytes()
            .map(|byte| byte_to_char(byte).to_string())
            .collect()
    };
    counts
        .into_iter()
        .map(|(word, count)| (spell(word), count))
        .collect()
}

/// Words as the pre-tokenizer `smollm` cuts them, as far as our text needs:
/// digits alone, letters and marks apart, one space with the word after it.
fn split(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last = Class::Digit;
    for c in text.chars() {
        let class = Class::of(c);
        let joins = class != Class::Digit
            && (class == last || last == Class::Space && class != Class::Space);
        match words.last_mut() {
            Some(word) if joins => word.push(c),
            _ => words.push(c.into()),
        }
        last = class;
    }
    words
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Digit,
    Space,
    Mark,
}

impl Class {
    fn of(c: char) -> Class {
        match c {
            ' ' | '\n' => Class::Space,
            '0'..='9' => Class::Digit,
            c if c.is_alphabetic() => Class::Letter,
            _ => Class::Mark,
        }
    }
}

fn most_frequent_pair(words: &[(Vec<String>, u64)]) -> Option<(String, String)> {
    let mut counts = BTreeMap::<(&str, &str), u64>::new();
    for (word, count) in words {
        for pair in word.windows(2) {
            *counts.entry((&pair[0], &pair[1])).or_default() += count;
        }
    }
    // `rev`, since `max_by_key` takes the last of equals.
    let best = counts.into_iter().rev().max_by_key(|&(_, count)| count);
    best.map(|((left, right), _)| (left.to_string(), right.to_string()))
}

fn merge(word: &mut Vec<String>, left: &str, right: &str) {
    let mut at = 0;
    while at + 1 < word.len() {
        if word[at] == left && word[at + 1] == right {
            let right = word.remove(at + 1);
            word[at].push_str(&right);
        }
        at += 1;
    }
}

/// GPT-2's printable stand-in for a byte: itself if it is printable Latin-1,
/// else the next free character from U+0100 on.
fn byte_to_char(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_characters_of_gpt2() {
        assert_eq!(
            [b' ', b'\n', b'A', 0, 0xAD].map(byte_to_char),
            ['Ġ', 'Ċ', 'A', 'Ā', 'Ń']
        );
    }

    #[test]
    fn words_keep_one_space_and_digits_are_alone() {
        assert_eq!(
            split("is 10, 온돌은?"),
            ["is", " ", "1", "0", ",", " 온돌은", "?"]
        );
    }

    #[test]
    fn the_most_frequent_pair_merges_first() {
        let vocabulary = learn(
            ["ababab ab ac".to_string()].into_iter(),
            256 + 2 + CONTROL.len(),
        );
        assert_eq!(vocabulary.merges, ["a b", "ab ab"]);
        assert_eq!(vocabulary.tokens.len(), 261);
    }
}

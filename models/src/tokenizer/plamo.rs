//! PLaMo-2's tokenizer: of all ways to divide a text into tokens, the one whose scores have
//! the largest sum. A character without a token is written as its UTF-8 bytes, for one score.
//!
//! From `tokenization_plamo.py` of the models `pfnet/plamo-2-*`, as llama.cpp's
//! `llm_tokenizer_plamo2` and mlx-vlm 0.7.10 (`models/plamo2vl/processing.py`, PyPI) contain
//! it too. Among equal sums it takes the longest first token, then the longest second one,
//! and a token before bytes. Of several equal tokens the last one counts.
//!
//! One thing is different: in that code a token whose score is exactly that of an unknown
//! character (-1000) hides other tokens in the same place, since it looks like the end of a
//! list. Here it is a token like others.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::prefixes::Prefixes;
use super::vocab::{self, TokenKind, Vocab};
use crate::gguf::Gguf;
use crate::{Error, Result, heap};

/// Scores are rounded to ten-thousandths and summed as integers, so that the order of the
/// sum has no effect.
const UNITS: f64 = 1e4;
/// The score of a character that is written as bytes.
const UNKNOWN: i32 = -10_000_000;
/// A token with this score or a lower one, or with one that is no number, is never used.
const UNUSABLE: i32 = -20_000_000;

/// The tokens of text with their scores, and those of bytes.
#[derive(Debug, Clone)]
pub(super) struct Plamo {
    tokens: Prefixes,
    /// The score of each token of the vocabulary, in ten-thousandths.
    scores: Vec<i32>,
    /// The token of each byte.
    bytes: Vec<u32>,
}

impl Plamo {
    /// Reads `tokenizer.ggml.scores`, and sorts the tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a byte without a token; the errors of
    /// [`Prefixes::of_text`] and [`vocab::scores`].
    pub(super) fn from_gguf(gguf: &Gguf, vocab: &Vocab) -> Result<Plamo> {
        let scores = vocab::scores(gguf, vocab.len())?;
        Ok(Plamo {
            tokens: Prefixes::of_text(vocab)?,
            scores: scores.into_iter().map(in_units).collect(),
            bytes: byte_tokens(vocab)?,
        })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, ids: &mut Vec<u32>) {
        let best = self.best_tokens(vocab, text);
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let token = best[text.len() - rest.len()];
            let piece = token.and_then(|id| vocab.piece(id));
            let (spelled, tail) = rest.split_at(piece.map_or(c.len_utf8(), <[u8]>::len));
            match token {
                Some(id) => ids.push(id),
                None => ids.extend(spelled.bytes().map(|byte| self.bytes[usize::from(byte)])),
            }
            rest = tail;
        }
    }

    /// The token that the best division of the rest of the text begins with, for each byte
    /// offset; `None` if it begins with a character that is written as bytes. Offsets within
    /// characters have no meaning.
    fn best_tokens(&self, vocab: &Vocab, text: &str) -> Vec<Option<u32>> {
        let mut tokens = vec![None; text.len()];
        // The sum of the scores of that division.
        let mut sums = vec![0_i64; text.len() + 1];
        for (at, c) in text.char_indices().rev() {
            let sum = |length: usize, score: i32| sums[at + length].saturating_add(score.into());
            let mut best = sum(c.len_utf8(), UNKNOWN);
            for (length, id) in self.tokens_at(vocab, text, at) {
                let sum = sum(length, self.scores[id as usize]);
                // Among equal sums the longer token is taken; it comes later.
                if sum >= best {
                    best = sum;
                    tokens[at] = Some(id);
                }
            }
            sums[at] = best;
        }
        tokens
    }

    /// The tokens that may begin at this offset, with their lengths; shorter ones first.
    fn tokens_at<'a>(
        &'a self,
        vocab: &'a Vocab,
        text: &'a str,
        at: usize,
    ) -> impl Iterator<Item = (usize, u32)> + 'a {
        let tokens = self.tokens.of(vocab, &text.as_bytes()[at..]);
        tokens.filter_map(move |(length, same)| {
            let &id = same.last()?;
            // A token of a hostile file may end within a character.
            let is_whole = text.is_char_boundary(at + length);
            (is_whole && self.scores[id as usize] > UNUSABLE).then_some((length, id))
        })
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.tokens.heap_bytes() + heap::bytes(&self.scores) + heap::bytes(&self.bytes)
    }
}

/// A score in ten-thousandths; halves are rounded to even numbers, as Python's `round` does.
fn in_units(score: f32) -> i32 {
    match score.is_finite() {
        // Numbers beyond those of `i32` become its smallest and largest.
        true => libm::rint(f64::from(score) * UNITS) as i32,
        false => UNUSABLE,
    }
}

/// The token of each byte.
fn byte_tokens(vocab: &Vocab) -> Result<Vec<u32>> {
    let mut tokens = [None; 256];
    for id in vocab.ids_of_kinds(|kind| kind == TokenKind::Byte) {
        if let Some(byte) = vocab.piece(id).and_then(vocab::parse_byte_piece) {
            tokens[usize::from(byte)] = Some(id);
        }
    }
    let token = |(byte, token): (usize, Option<u32>)| {
        token.ok_or_else(|| Error::Tokenizer {
            reason: format!("no token for the byte 0x{byte:02X}"),
        })
    };
    tokens.into_iter().enumerate().map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Tokenizer;
    use crate::tokenizer::tests::{ALL, BYTE, CONTROL, File, NORMAL, PLAIN, UNK, stream};
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use proptest::prelude::*;

    /// A token of a vocabulary: piece, kind, score.
    type Token<'a> = (&'a [u8], i32, f32);

    /// The id of the first token after `<|plamo:unk|>`, the control tokens and the bytes.
    const FIRST: u32 = 3 + 256;

    /// The id of the token of a byte.
    fn byte(byte: u8) -> u32 {
        3 + u32::from(byte)
    }

    /// A file with tokens after those that each vocabulary has.
    fn file(tokens: &[Token]) -> File {
        let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
        let special: [Token; 3] = [
            (b"<|plamo:unk|>", UNK, 0.0),
            (b"<|plamo:bos|>", CONTROL, 0.0),
            (b"<|plamo:eos|>", CONTROL, 0.0),
        ];
        let bytes = bytes.iter().map(|piece| (piece.as_bytes(), BYTE, 0.0));
        let all: Vec<Token> = special
            .into_iter()
            .chain(bytes)
            .chain(tokens.iter().copied())
            .collect();
        bare_file(&all)
    }

    fn bare_file(tokens: &[Token]) -> File {
        let pieces: Vec<&[u8]> = tokens.iter().map(|token| token.0).collect();
        let kinds = tokens.iter().map(|token| token.1.to_le_bytes());
        let scores: Vec<f32> = tokens.iter().map(|token| token.2).collect();
        File::new("plamo2")
            .texts("tokenizer.ggml.tokens", &pieces)
            .words("tokenizer.ggml.token_type", 5, kinds)
            .scores(&scores)
    }

    fn load(tokens: &[Token]) -> Tokenizer {
        file(tokens).load().unwrap()
    }

    /// The pieces that `text` is divided into.
    fn divided(tokens: &[(&str, f32)], text: &str) -> String {
        let tokens: Vec<Token> = tokens
            .iter()
            .map(|&(piece, score)| (piece.as_bytes(), NORMAL, score))
            .collect();
        crate::tokenizer::tests::pieces(&load(&tokens), text, PLAIN)
    }

    #[test]
    fn the_largest_sum_wins() {
        let tokens = [
            ("a", -3.0),
            ("b", -3.0),
            ("c", -1.0),
            ("ab", -5.0),
            ("bc", -2.0),
            ("abc", -9.0),
        ];
        assert_eq!(divided(&tokens, "abc"), "a|bc");
        assert_eq!(divided(&tokens, "ab"), "ab");
        assert_eq!(divided(&tokens, "bab"), "b|ab");
        // Scores may be positive.
        assert_eq!(divided(&[("a", 1.0), ("aa", 1.5)], "aaa"), "a|a|a");
    }

    #[test]
    fn among_equal_sums_the_longer_first_token_wins() {
        let tokens = [("a", -1.0), ("aa", -2.0), ("aaa", -3.0)];
        assert_eq!(divided(&tokens, "aaaa"), "aaa|a");
        let tokens = [("a", -1.0), ("aa", -1.0)];
        assert_eq!(divided(&tokens, "aaa"), "aa|a");
        // Equal after rounding to ten-thousandths.
        assert_eq!(divided(&[("a", -1.0), ("aa", -2.000_04)], "aa"), "aa");
        assert_eq!(divided(&[("a", -1.0), ("aa", -2.000_06)], "aa"), "a|a");
    }

    #[test]
    fn a_character_without_a_token_is_written_as_bytes() {
        let tokenizer = load(&[(b"a", NORMAL, -1.0)]);
        let ids = tokenizer.encode("aé가👩", PLAIN);
        let spelled: Vec<u32> = "é가👩".bytes().map(byte).collect();
        assert_eq!(ids, [&[FIRST][..], &spelled].concat());
        assert_eq!(tokenizer.decode(&ids), "aé가👩");
        assert_eq!(stream(&tokenizer, &ids).concat(), "aé가👩");
        // Spelled in the text, the pieces of bytes are text.
        let ids = tokenizer.encode("<0x41>", ALL);
        assert_eq!(ids, "<0x41>".bytes().map(byte).collect::<Vec<_>>());
        // A byte order mark is a character like others.
        assert_eq!(tokenizer.encode("\u{feff}a", PLAIN).len(), 4);
    }

    /// A character that is written as bytes counts as one score, however many bytes it has.
    #[test]
    fn bytes_are_the_last_resort() {
        let tokens = [("a", -400.0), ("ab", -1999.0)];
        assert_eq!(divided(&tokens, "ab"), "a|<0x62>");
        assert_eq!(divided(&[("a", -900.0), ("ab", -1900.0)], "ab"), "ab");
        assert_eq!(divided(&[("a", -1000.0)], "a"), "a");
        assert_eq!(divided(&[("a", -1000.5)], "a"), "<0x61>");
        assert_eq!(divided(&[("가나", -1999.5)], "가나"), "가나");
    }

    #[test]
    fn scores_that_mean_nothing_are_never_used() {
        for score in [
            -2000.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MIN,
        ] {
            assert_eq!(divided(&[("ab", score)], "ab"), "<0x61>|<0x62>", "{score}");
        }
        assert_eq!(divided(&[("ab", f32::MAX), ("a", 0.0)], "ab"), "ab");
    }

    #[test]
    fn scores_are_rounded_as_in_python() {
        // 1/32 is 312.5 ten-thousandths, 3/32 is 937.5.
        let cases = [
            (0.031_25, 312),
            (0.093_75, 938),
            (-0.031_25, -312),
            (-12.345_678, -123_457),
        ];
        for (score, expected) in cases {
            assert_eq!(in_units(score), expected, "{score}");
        }
        assert_eq!(in_units(f32::MAX), i32::MAX);
    }

    /// The converter fills vocabularies with unused tokens of the score -1000.
    #[test]
    fn text_becomes_text_only() {
        let tokenizer = load(&[(b"[PAD1]", 5, -1000.0), (b"<|plamo:op|>", CONTROL, 0.0)]);
        for text in ["[PAD1]", "<|plamo:op|>", "<|plamo:unk|>"] {
            let spelled: Vec<u32> = text.bytes().map(byte).collect();
            assert_eq!(tokenizer.encode(text, PLAIN), spelled, "{text}");
        }
        assert_eq!(tokenizer.encode("<|plamo:op|>", ALL), [FIRST + 1]);
    }

    #[test]
    fn nothing_is_added_unless_the_file_asks() {
        let tokens: [Token; 1] = [(b"a", NORMAL, -1.0)];
        assert_eq!(load(&tokens).bos(), Some(1));
        assert_eq!(load(&tokens).eos(), Some(2));
        assert_eq!(load(&tokens).encode("a", ALL), [FIRST]);
        let asks = file(&tokens).bool("tokenizer.ggml.add_bos_token", true);
        assert_eq!(asks.load().unwrap().encode("a", ALL), [1, FIRST]);
    }

    #[test]
    fn what_is_wrong_with_a_vocabulary_is_said() {
        let long = vec![b'a'; 1 << 20];
        let pieces: [&[u8]; 1] = [b"a"];
        let cases = [
            (
                bare_file(&[(b"a", NORMAL, 0.0)]),
                "no token for the byte 0x00",
            ),
            (
                bare_file(&[(b"<0x00>", BYTE, 0.0), (b"<0xZZ>", BYTE, 0.0)]),
                "no token for the byte 0x01",
            ),
            (
                bare_file(&[(b"<0x00>", NORMAL, 0.0)]),
                "no token for the byte 0x00",
            ),
            (
                file(&[(&long, NORMAL, 0.0)]),
                "token 259 has 1048576 bytes; the longest may have 1024",
            ),
            (
                File::new("plamo2").texts("tokenizer.ggml.tokens", &pieces),
                "`tokenizer.ggml.scores` is missing",
            ),
            (
                File::new("plamo2")
                    .texts("tokenizer.ggml.tokens", &pieces)
                    .scores(&[0.0, 0.0]),
                "2 elements for 1 tokens",
            ),
        ];
        for (file, expected) in cases {
            let error = format!("{}", file.load().unwrap_err());
            assert!(
                error.contains(expected),
                "{error:?} does not say {expected:?}"
            );
        }
    }

    #[test]
    fn hostile_pieces_do_no_harm() {
        let tokenizer = load(&[
            (b"", NORMAL, 5.0),
            (b"\xea\xb0", NORMAL, 5.0),
            (b"a\xea", NORMAL, 5.0),
            (b"\x80", NORMAL, 5.0),
            (b"\xff", NORMAL, 5.0),
        ]);
        let ids = tokenizer.encode("a가", PLAIN);
        assert_eq!(ids, "a가".bytes().map(byte).collect::<Vec<_>>());
    }

    #[test]
    fn a_megabyte_of_text_is_encoded_quickly() {
        let tokenizer = load(&[
            (b"a", NORMAL, -2.0),
            (b"aaa", NORMAL, -1.0),
            (b"aaaaaaab", NORMAL, 0.0),
        ]);
        let ids = tokenizer.encode(&"a".repeat(1 << 20), PLAIN);
        assert_eq!(ids.len(), (1 << 20) / 3 + 1);
    }

    /// A way to divide a text: the bytes and the token of each part, `None` for a character
    /// that is written as bytes.
    type Division = Vec<(usize, Option<u32>)>;

    /// The definition: all divisions are compared. Returns the best one, with its score.
    fn slow(scores: &BTreeMap<&[u8], (u32, i32)>, text: &str) -> (i64, Division) {
        let Some(c) = text.chars().next() else {
            return (0, Vec::new());
        };
        let bytes = (c.len_utf8(), None, UNKNOWN);
        let fits = scores.iter().filter(|(piece, (_, score))| {
            text.as_bytes().starts_with(piece) && !piece.is_empty() && *score > UNUSABLE
        });
        let parts = fits.map(|(piece, &(id, score))| (piece.len(), Some(id), score));
        let divisions = parts.chain([bytes]).map(|(length, token, score)| {
            let (sum, rest) = slow(scores, &text[length..]);
            (
                sum + i64::from(score),
                [&[(length, token)][..], &rest].concat(),
            )
        });
        // Lists are compared part by part: by length, then a token goes before bytes.
        divisions.max().unwrap()
    }

    fn any_text(parts: core::ops::Range<usize>) -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec!["a", "a", "b", "c", "é", "가", "나", "👩"]);
        prop::collection::vec(part, parts).prop_map(|parts| parts.concat())
    }

    fn any_score() -> impl Strategy<Value = f32> {
        let few = vec![
            0.0,
            -1.0,
            -1.0,
            -2.0,
            -3.0,
            1.0,
            -1.000_04,
            -0.031_25,
            -999.0,
            -1000.0,
            -1999.0,
            -2000.0,
            f32::NAN,
            f32::INFINITY,
            f32::MAX,
            f32::MIN,
        ];
        prop_oneof![prop::sample::select(few), -5.0..0.0_f32]
    }

    proptest! {
        #[test]
        fn ids_are_those_of_the_definition(
            tokens in prop::collection::vec((any_text(0..4), any_score()), 0..30),
            text in any_text(0..9),
        ) {
            let listed: Vec<Token> = tokens.iter().map(|(piece, score)| (piece.as_bytes(), NORMAL, *score)).collect();
            let ids = load(&listed).encode(&text, PLAIN);

            let scores = (FIRST..).zip(&listed).map(|(id, token)| (token.0, (id, in_units(token.2)))).collect();
            let mut rest = &text[..];
            let mut expected = Vec::new();
            for (length, token) in slow(&scores, &text).1 {
                let (part, tail) = rest.split_at(length);
                match token {
                    Some(id) => expected.push(id),
                    None => expected.extend(part.bytes().map(byte)),
                }
                rest = tail;
            }
            prop_assert_eq!(ids, expected);
        }
    }
}

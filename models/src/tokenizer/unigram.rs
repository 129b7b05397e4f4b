//! SentencePiece's unigram model (arXiv:1804.10959), as T5 uses it. The score of each piece
//! is its ln p; text becomes the pieces with the highest sum of scores, which are found by
//! the Viterbi algorithm.
//!
//! The rules are those of SentencePiece 0.2.1 (`src/normalizer.cc`, `Model::EncodeOptimized`
//! in `src/unigram_model.cc`, `PopulateSentencePieceText` in `src/sentencepiece_processor.cc`),
//! but the scores of user-defined pieces and the rounding of sums are those of 0.2.3, as
//! measured with its Python package. The defaults of GGUF's keys are those of llama.cpp
//! (`src/llama-vocab.cpp`).

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::charsmap::Charsmap;
use super::spm::SPACE_MARK;
use super::vocab::{self, SCORES, TokenKind, Vocab, bad, byte_piece};
use crate::gguf::Gguf;
use crate::{Result, heap};

pub(super) const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
pub(super) const TRIM: &str = "tokenizer.ggml.remove_extra_whitespaces";
const ESCAPE: &str = "tokenizer.ggml.escape_whitespaces";
const SPACE_SUFFIX: &str = "tokenizer.ggml.treat_whitespace_as_suffix";

/// The longest piece that is looked up, in bytes, so that a vocabulary can't make encoding
/// slow. SentencePiece's trainer makes pieces of at most 16 characters, unless it is told
/// otherwise.
const LONGEST_PIECE: usize = 128;

/// How much lower than the lowest score that of a character without a piece is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Where a sum is further than this from zero, sums are counted from zero again, so that their
/// rounding does not grow with the length of the text.
const FAR: f32 = 1e5;

/// The id of a [`Step`] over a character without a piece.
const NO_PIECE: u32 = u32::MAX;

/// The scores of a vocabulary, and how text is normalized before it is split.
#[derive(Debug, Clone)]
pub(super) struct Unigram {
    charsmap: Option<Charsmap>,
    spaces: Spaces,
    scores: Vec<f32>,
    /// The score of a character without a piece.
    unknown_score: f32,
    /// The token of each byte, if the vocabulary has them all.
    bytes: Option<Vec<u32>>,
    unknown: Option<u32>,
    /// The longest piece and the longest user-defined piece, in bytes; at most
    /// [`LONGEST_PIECE`].
    longest: usize,
    longest_user_defined: usize,
}

/// What is done with spaces.
#[derive(Debug, Clone, Copy)]
struct Spaces {
    /// One is put before a text.
    prefix: bool,
    /// Those at the beginning and end are dropped, and runs become one.
    trim: bool,
    /// What a space is spelled as.
    mark: char,
}

/// The last piece of the best way to spell a text up to some byte.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// The sum of the scores up to here.
    score: f32,
    id: u32,
    /// Bytes of the piece; 0 where no piece ends.
    length: u32,
}

impl Unigram {
    /// Reads `tokenizer.ggml.scores`, the table of replacements, and what is done with spaces.
    ///
    /// # Errors
    /// [`crate::Error::MissingKey`] without scores; [`crate::Error::BadValue`] for scores that
    /// are not finite numbers, a damaged table, and spaces after words in the place of those
    /// before them; [`crate::Error::OutOfMemory`].
    pub(super) fn from_gguf(gguf: &Gguf, vocab: &Vocab, unknown: Option<u32>) -> Result<Unigram> {
        let scores = finite_scores(gguf, vocab)?;
        let normal = vocab.ids_of_kinds(|kind| kind == TokenKind::Normal);
        let lowest = normal
            .map(|id| scores[id as usize])
            .fold(f32::MAX, f32::min);
        let user_defined = vocab.ids_of_kinds(|kind| kind == TokenKind::UserDefined);
        let lengths = user_defined
            .filter_map(|id| vocab.piece(id))
            .map(<[u8]>::len);
        Ok(Unigram {
            charsmap: Charsmap::from_gguf(gguf)?,
            spaces: Spaces::from_gguf(gguf)?,
            scores,
            unknown_score: lowest - UNKNOWN_PENALTY,
            bytes: byte_tokens(vocab),
            unknown,
            longest: vocab.longest_piece().min(LONGEST_PIECE),
            longest_user_defined: lengths.max().unwrap_or(0).min(LONGEST_PIECE),
        })
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let charsmap = self.charsmap.as_ref().map_or(0, Charsmap::heap_bytes);
        let bytes = self.bytes.as_ref().map_or(0, heap::bytes);
        charsmap + heap::bytes(&self.scores) + bytes
    }

    /// Whether encoded text may begin with a space that it did not have, or has lost those
    /// that it had.
    pub(super) fn changes_first_space(&self) -> bool {
        self.spaces.prefix || self.spaces.trim
    }

    /// Appends the tokens of `text`; `first` if it begins a text, or follows a special token.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, first: bool, ids: &mut Vec<u32>) {
        let text = self.normalize(vocab, text, first);
        let steps = self.best_steps(vocab, &text);
        self.follow(&steps, text.as_bytes(), ids);
    }

    /// The text as the model has seen it in training.
    fn normalize(&self, vocab: &Vocab, text: &str, first: bool) -> String {
        let Spaces { prefix, trim, mark } = self.spaces;
        let mut normalized = String::with_capacity(text.len() + text.len() / 2);
        normalized.extend((first && prefix).then_some(mark));
        let mut after_space = first && trim;
        let mut rest = text;
        while let Some((part, length)) = self.next_part(vocab, rest) {
            let part = if after_space {
                part.trim_start_matches(' ')
            } else {
                part
            };
            normalized.extend(part.chars().map(|c| if c == ' ' { mark } else { c }));
            if !part.is_empty() {
                after_space = trim && part.ends_with(' ');
            }
            rest = &rest[length..];
        }
        if trim {
            normalized.truncate(normalized.trim_end_matches(mark).len());
        }
        normalized
    }

    /// What the beginning of the text becomes, and how many bytes of text it stands for: a
    /// user-defined piece, which stays as it is, a replacement of the table, or a character.
    fn next_part<'t>(&'t self, vocab: &Vocab, text: &'t str) -> Option<(&'t str, usize)> {
        let pieces = pieces(vocab, text, self.longest_user_defined);
        let user_defined = |&(_, id): &(_, u32)| vocab.kind(id) == Some(TokenKind::UserDefined);
        if let Some((length, _)) = pieces.filter(user_defined).last() {
            return Some((&text[..length], length));
        }
        let replaced = self.charsmap.as_ref().and_then(|map| map.longest(text));
        replaced.or_else(|| {
            let length = text.chars().next()?.len_utf8();
            Some((&text[..length], length))
        })
    }

    /// For each byte offset in the text, the last step of the best way to it. Of ways with
    /// equal scores, the one found first is kept: that with the longest last piece.
    fn best_steps(&self, vocab: &Vocab, text: &str) -> Vec<Step> {
        let mut steps = vec![Step::NOWHERE; text.len() + 1];
        for (start, c) in text.char_indices() {
            if steps[start].score.abs() > FAR {
                count_from(&mut steps, start, self.longest);
            }
            let before = steps[start].score;
            let mut has_piece = false;
            for (length, id) in pieces(vocab, &text[start..], self.longest) {
                let Some(score) = self.score(vocab, id, length) else {
                    continue;
                };
                has_piece |= length == c.len_utf8();
                steps[start + length].improve(before + score, id, length);
            }
            if !has_piece {
                let score = before + self.unknown_score;
                let length = c.len_utf8();
                steps[start + length].improve(score, NO_PIECE, length);
            }
        }
        steps
    }

    /// The score of a piece of this length; `None` if text can't become it. User-defined
    /// pieces have a score that is not negative, unlike ln p.
    fn score(&self, vocab: &Vocab, id: u32, length: usize) -> Option<f32> {
        match vocab.kind(id)? {
            TokenKind::Normal => self.scores.get(id as usize).copied(),
            TokenKind::UserDefined => Some((length as f64 * 0.1 - 0.1) as f32),
            _ => None,
        }
    }

    /// Appends the tokens of the steps that lead to the end of the text; they are found from
    /// its end to its beginning.
    fn follow(&self, steps: &[Step], text: &[u8], ids: &mut Vec<u32>) {
        let before = ids.len();
        let mut rest = text;
        let mut after_unknown = false;
        while !rest.is_empty() {
            let Step { id, length, .. } = steps[rest.len()];
            let (head, part) = rest.split_at(rest.len() - length as usize);
            match &self.bytes {
                _ if id != NO_PIECE => ids.push(id),
                Some(tokens) => ids.extend(part.iter().rev().map(|&b| tokens[usize::from(b)])),
                // Neighbours without pieces are one unknown token.
                None if after_unknown => {}
                None => ids.extend(self.unknown),
            }
            after_unknown = id == NO_PIECE;
            rest = head;
        }
        ids[before..].reverse();
    }
}

impl Spaces {
    fn from_gguf(gguf: &Gguf) -> Result<Spaces> {
        if gguf.opt_bool(SPACE_SUFFIX)? == Some(true) {
            return Err(bad(SPACE_SUFFIX, "this is not supported".into()));
        }
        let escapes = gguf.opt_bool(ESCAPE)?.unwrap_or(true);
        Ok(Spaces {
            prefix: gguf.opt_bool(SPACE_PREFIX)?.unwrap_or(true),
            trim: gguf.opt_bool(TRIM)?.unwrap_or(false),
            mark: if escapes { SPACE_MARK } else { ' ' },
        })
    }
}

impl Step {
    /// The beginning of the text, and offsets within characters.
    const NOWHERE: Step = Step {
        score: 0.0,
        id: NO_PIECE,
        length: 0,
    };

    /// Takes this piece if it is the first one or makes the sum higher.
    fn improve(&mut self, score: f32, id: u32, length: usize) {
        if self.length == 0 || score > self.score {
            *self = Step {
                score,
                id,
                length: length as u32,
            };
        }
    }
}

/// Makes the sum at `start` zero, and the sums of the steps after it relative to that. No step
/// from before `start` goes further than `longest` bytes past it.
fn count_from(steps: &mut [Step], start: usize, longest: usize) {
    let zero = steps[start].score;
    let reached = steps.iter_mut().skip(start).take(longest + 1);
    for step in reached.filter(|step| step.length > 0) {
        step.score -= zero;
    }
}

/// The pieces of at most `longest` bytes that the text begins with: their lengths and ids,
/// short ones first.
fn pieces(vocab: &Vocab, text: &str, longest: usize) -> impl Iterator<Item = (usize, u32)> {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    ends.take_while(move |&end| end <= longest)
        .filter_map(|end| Some((end, vocab.id_of(&text.as_bytes()[..end])?)))
}

fn finite_scores(gguf: &Gguf, vocab: &Vocab) -> Result<Vec<f32>> {
    let scores = vocab::scores(gguf, vocab.len())?;
    match scores.iter().position(|score| !score.is_finite()) {
        Some(place) => Err(bad(SCORES, format!("element {place} is not finite"))),
        None => Ok(scores),
    }
}

/// The tokens of all bytes; `None` if one is missing.
fn byte_tokens(vocab: &Vocab) -> Option<Vec<u32>> {
    let token = |byte| vocab.id_of(&byte_piece(byte));
    let is_byte = |&id: &u32| vocab.kind(id) == Some(TokenKind::Byte);
    (0..=255).map(|byte| token(byte).filter(is_byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use super::super::charsmap::{self, CHARSMAP};
    use super::super::tests::pieces as spelled;
    use super::super::tests::{ALL, BYTE, CONTROL, File, NORMAL, PLAIN, UNK, UNUSED, USER};
    use super::*;
    use crate::Error;
    use proptest::prelude::*;

    /// T5's special tokens, and a few pieces with their scores.
    fn file(pieces: &[(&str, i32, f32)]) -> File {
        let special = [
            ("<pad>", CONTROL, 0.0),
            ("</s>", CONTROL, 0.0),
            ("<unk>", UNK, 0.0),
        ];
        let all = [&special, pieces].concat();
        let tokens: Vec<(&str, i32)> = all.iter().map(|&(piece, kind, _)| (piece, kind)).collect();
        let scores: Vec<f32> = all.iter().map(|&(_, _, score)| score).collect();
        File::new("t5").tokens(&tokens).scores(&scores)
    }

    fn normal(pieces: &[(&'static str, f32)]) -> File {
        let with_kind = |&(piece, score): &(&'static str, f32)| (piece, NORMAL, score);
        file(&pieces.iter().map(with_kind).collect::<Vec<_>>())
    }

    fn plain(tokenizer: &Tokenizer, text: &str) -> String {
        spelled(tokenizer, text, PLAIN)
    }

    const LETTERS: &[(&str, f32)] = &[
        ("▁", -3.0),
        ("a", -4.0),
        ("b", -4.5),
        ("ab", -6.0),
        ("▁a", -5.0),
        ("bab", -10.5),
    ];

    #[test]
    fn the_pieces_with_the_highest_sum_are_taken() {
        let tokenizer = normal(LETTERS).load().unwrap();
        assert_eq!(plain(&tokenizer, "ab"), "▁|ab");
        // -3 - 6 - 6 is higher than -5 - 10.5 and than -3 - 4 - 10.5.
        assert_eq!(plain(&tokenizer, "abab"), "▁|ab|ab");
        assert_eq!(plain(&tokenizer, "a b"), "▁a|▁|b");
        assert_eq!(plain(&tokenizer, ""), "");
        // Two steps of one letter and one step of both score the same: the long one is taken.
        let tie = normal(&[("a", -1.0), ("aa", -2.0), ("▁", -1.0)])
            .load()
            .unwrap();
        assert_eq!(plain(&tie, "aaa"), "▁|a|aa");
    }

    #[test]
    fn characters_without_a_piece_become_one_unknown_token_or_bytes() {
        let tokenizer = normal(LETTERS).load().unwrap();
        assert_eq!(plain(&tokenizer, "가나ab 다"), "▁|<unk>|ab|▁|<unk>");
        let bytes: Vec<_> = (0..=255)
            .map(|byte| byte_piece(byte).map(char::from))
            .collect();
        let bytes: Vec<String> = bytes.iter().map(|piece| piece.iter().collect()).collect();
        let byte = |piece| (piece, BYTE, 0.0);
        let mut list: Vec<_> = bytes.iter().map(|piece| byte(piece.as_str())).collect();
        list.extend([("a", NORMAL, -1.0), ("▁", NORMAL, -1.0)]);
        let tokenizer = file(&list).load().unwrap();
        assert_eq!(plain(&tokenizer, "a가"), "▁|a|<0xEA>|<0xB0>|<0x80>");
        assert_eq!(
            tokenizer.decode(&tokenizer.encode("a가 가", PLAIN)),
            "a가 가"
        );
        // The spelling of a byte's token is text, and no token of its own.
        assert!(
            !tokenizer
                .encode("<0x0A>", PLAIN)
                .contains(&tokenizer.id_of("<0x0A>").unwrap())
        );
        // Without the token of one byte there is no fallback.
        let tokenizer = file(&list[1..]).load().unwrap();
        assert_eq!(plain(&tokenizer, "a가"), "▁|a|<unk>");
    }

    #[test]
    fn spaces_are_handled_as_the_file_says() {
        let letters = || normal(LETTERS);
        let text = "  a  b ";
        let load = |file: File| plain(&file.load().unwrap(), text);
        assert_eq!(load(letters()), "▁|▁|▁a|▁|▁|b|▁");
        assert_eq!(load(letters().bool(TRIM, true)), "▁a|▁|b");
        assert_eq!(load(letters().bool(SPACE_PREFIX, false)), "▁|▁a|▁|▁|b|▁");
        let both = letters().bool(TRIM, true).bool(SPACE_PREFIX, false);
        assert_eq!(load(both), "a|▁|b");
        let bare = letters().bool(ESCAPE, false);
        assert_eq!(load(bare), "<unk>|a|<unk>|b|<unk>");
        let trimmed = letters().bool(TRIM, true).load().unwrap();
        assert_eq!(plain(&trimmed, "   "), "");
        assert_eq!(trimmed.decode(&trimmed.encode("  a b ", PLAIN)), "a b");
        let error = letters().bool(SPACE_SUFFIX, true).load().unwrap_err();
        assert!(matches!(error, Error::BadValue { key, .. } if key == SPACE_SUFFIX));
    }

    #[test]
    fn user_defined_pieces_win_from_left_to_right() {
        let list = [
            ("▁", NORMAL, -3.0),
            ("a", NORMAL, -4.0),
            ("b", NORMAL, -4.0),
            ("▁ab", NORMAL, -4.0),
            ("ba", USER, 0.0),
            ("aba", USER, 0.0),
            ("<x>", USER, 0.0),
            ("[pad]", UNUSED, 0.0),
        ];
        let tokenizer = file(&list).load().unwrap();
        assert_eq!(plain(&tokenizer, "bab ab"), "▁|ba|b|▁ab");
        assert_eq!(plain(&tokenizer, "ababa"), "▁|aba|ba");
        // Text goes on after such a token: no space is put there, and none is dropped.
        assert_eq!(plain(&tokenizer, "a<x>a <x>"), "▁|a|<x>|a|▁|<x>");
        assert_eq!(plain(&tokenizer, "[pad]"), "▁|<unk>|a|<unk>");
        // The table of replacements does not change them.
        let map = charsmap::tests::compile(&[("b", "a"), ("x", "y")]);
        let mapped = file(&list).octets(CHARSMAP, &map).load().unwrap();
        assert_eq!(plain(&mapped, "ba<x>b"), "▁|ba|<x>|a");
    }

    #[test]
    fn text_is_normalized_by_the_table_of_the_file() {
        let map = charsmap::tests::compile(&[
            ("Ａ", "a"),
            ("\u{3000}", " "),
            ("\u{1}", ""),
            ("ㄱㅏ", "가"),
            ("½", "a b"),
        ]);
        let list = [&[("가", -4.0)], LETTERS].concat();
        let file = normal(&list).octets(CHARSMAP, &map);
        let tokenizer = file.clone().load().unwrap();
        assert_eq!(plain(&tokenizer, "Ａ\u{3000}ㄱㅏ\u{1}"), "▁a|▁|가");
        assert_eq!(plain(&tokenizer, "ㄱㄱㅏ½"), "▁|<unk>|가|a|▁|b");
        let trimmed = file.bool(TRIM, true).load().unwrap();
        assert_eq!(plain(&trimmed, "\u{3000}Ａ \u{3000}½\u{1} "), "▁a|▁a|▁|b");
        assert_eq!(plain(&trimmed, "\u{1}\u{3000}"), "");
    }

    #[test]
    fn special_tokens_are_those_of_t5() {
        let tokenizer = normal(LETTERS).load().unwrap();
        assert_eq!(spelled(&tokenizer, "a</s>b", ALL), "▁a|</s>|▁|b|</s>");
        assert_eq!(plain(&tokenizer, "</s>"), "▁|<unk>");
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (None, Some(1)));
        let bare = normal(LETTERS).bool("tokenizer.ggml.add_eos_token", false);
        assert_eq!(spelled(&bare.load().unwrap(), "a", ALL), "▁a");
        let other = normal(LETTERS).u32("tokenizer.ggml.unknown_token_id", 0);
        assert_eq!(plain(&other.load().unwrap(), "가"), "▁|<pad>");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = normal(&[("a", bad)]).load().unwrap_err();
            assert!(matches!(error, Error::BadValue { key, .. } if key == SCORES));
        }
        let error = File::new("t5").tokens(&[("a", NORMAL)]).load().unwrap_err();
        assert!(matches!(error, Error::MissingKey { key } if key == SCORES));
        let error = File::new("t5").scores(&[0.0]).load().unwrap_err();
        assert!(matches!(error, Error::MissingKey { .. }));
        let maps = [
            normal(LETTERS).octets(CHARSMAP, &[1, 2, 3]),
            normal(LETTERS).u32(CHARSMAP, 1),
        ];
        for file in maps {
            assert!(matches!(file.load(), Err(Error::BadValue { key, .. }) if key == CHARSMAP));
        }
        assert!(normal(LETTERS).octets(CHARSMAP, &[]).load().is_ok());
    }

    /// SentencePiece 0.2.3 gives these pieces. The ways that differ in the order of `a` and `aa`
    /// have equal sums; the rounding of the sum before decides.
    #[test]
    fn sums_far_from_zero_are_rounded_as_in_sentencepiece() {
        let cases = [
            ([-37976.0, -19660.0, -27106.3], "babbaaa", "b|a|b|b|aa|a"),
            ([-23934.7, -36329.7, -1983.3], "babaaab", "b|a|b|aa|a|b"),
            ([-34206.9, -33607.6, -34400.2], "aaaaaaa", "aa|aa|aa|a"),
        ];
        for ([a, b, aa], text, expected) in cases {
            let file = normal(&[("a", a), ("b", b), ("aa", aa)]);
            let tokenizer = file.bool(SPACE_PREFIX, false).load().unwrap();
            assert_eq!(plain(&tokenizer, text), expected);
        }
    }

    #[test]
    fn scores_past_the_range_of_sums_do_no_harm() {
        let list = [
            ("a", USER, 0.0),
            ("b", NORMAL, f32::MAX),
            ("c", NORMAL, f32::MIN),
        ];
        let tokenizer = file(&list).load().unwrap();
        let text = "abc가".repeat(100);
        assert_eq!(
            tokenizer.decode(&tokenizer.encode(&text, PLAIN)),
            "abc".repeat(100)
        );
    }

    #[test]
    fn long_text_is_encoded_quickly() {
        let long = "a".repeat(LONGEST_PIECE + 1);
        let list = [
            ("a", NORMAL, -2.0),
            ("aaaa", NORMAL, -3.0),
            (&long, USER, 0.0),
        ];
        let tokenizer = file(&list).bool(SPACE_PREFIX, false).load().unwrap();
        let ids = tokenizer.encode(&"a".repeat(1 << 18), PLAIN);
        assert_eq!(ids.len(), 1 << 16);
        let aaaa = tokenizer.id_of("aaaa").unwrap();
        assert!(ids.iter().all(|&id| id == aaaa));
    }

    /// The oracle: the highest sum of scores over all ways to spell the text.
    fn highest_sum(pieces: &[(String, f32)], unknown: f32, text: &str) -> f32 {
        let Some(c) = text.chars().next() else {
            return 0.0;
        };
        let starts = pieces.iter().filter(|(piece, _)| text.starts_with(piece));
        let ways = starts.map(|(piece, score)| (piece.len(), *score));
        let ways = ways.chain([(c.len_utf8(), unknown)]);
        let sums = ways.map(|(len, score)| score + highest_sum(pieces, unknown, &text[len..]));
        sums.fold(f32::NEG_INFINITY, f32::max)
    }

    fn any_piece(lengths: core::ops::Range<usize>) -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec!["a", "b", "가", "▁", "🏽"]);
        prop::collection::vec(part, lengths).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// Scores are quarters, so that sums are exact.
        #[test]
        fn no_other_pieces_have_a_higher_sum(
            scores in prop::collection::btree_map(any_piece(1..4), 0..80_u8, 1..20),
            text in any_piece(0..9),
        ) {
            let scores = scores.into_iter().map(|(piece, s)| (piece, -f32::from(s) / 4.0));
            let list: Vec<(String, f32)> = scores.collect();
            let tokens: Vec<_> = list.iter().map(|(piece, s)| (piece.as_str(), NORMAL, *s)).collect();
            let bytes = file(&tokens).bool(SPACE_PREFIX, false).to_vec();
            let gguf = Gguf::parse(&bytes).unwrap();
            let vocab = Vocab::from_gguf(&gguf, false).unwrap();
            let unigram = Unigram::from_gguf(&gguf, &vocab, Some(2)).unwrap();
            let lowest = list.iter().map(|(_, score)| *score).fold(0.0, f32::min);
            let unknown = lowest - UNKNOWN_PENALTY;
            let best = unigram.best_steps(&vocab, &text).last().unwrap().score;
            prop_assert_eq!(best, highest_sum(&list, unknown, &text));
            // The tokens are those of the steps: with a piece for each character they spell
            // the text, and their scores have that sum.
            let mut ids = Vec::new();
            unigram.encode(&vocab, &text, true, &mut ids);
            if !ids.contains(&2) {
                let spelled: Vec<u8> = ids.iter().flat_map(|&id| vocab.piece(id).unwrap()).copied().collect();
                prop_assert_eq!(spelled, text.as_bytes());
                prop_assert_eq!(ids.iter().map(|&id| unigram.scores[id as usize]).sum::<f32>(), best);
            }
        }

        #[test]
        fn damaged_tables_do_no_harm(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
            text in "\\PC{0,20}",
            trim: bool,
        ) {
            let mut map = charsmap::tests::compile(&[("a", "b"), ("b", " "), ("가", "🏽"), ("🏽", "")]);
            for (at, byte) in damage {
                let at = at.index(map.len());
                map[at] = byte;
            }
            if let Ok(tokenizer) = normal(LETTERS).octets(CHARSMAP, &map).bool(TRIM, trim).load() {
                let ids = tokenizer.encode(&text, ALL);
                prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
            }
        }
    }
}

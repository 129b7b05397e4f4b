//! Special tokens: their lists, which of them end an answer, and how they are cut out
//! of text before the rest is tokenized.

use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;

use super::prefixes::Prefixes;
use super::vocab::{TokenKind, Vocab};
use super::{MODEL, PRE_TOKENIZER};
use crate::gguf::Gguf;
use crate::{Result, heap};

/// Pieces that end a turn or an answer, whatever kind the file gives them: some
/// converters call them normal. The first one found is the end of a turn where the
/// file names none.
pub(super) const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<turn|>",
    "<|endofturn|>",
    "[|endofturn|]",
    "<end_of_utterance>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",
];

/// Pieces that begin a turn or name its role, by the piece that ends the turn. Where a
/// vocabulary has the piece that ends the turn, those of the others that it has are control
/// tokens too.
pub(super) const MARKS: &[(&str, &[&str])] = &[
    ("<|im_end|>", &["<|im_start|>"]),
    (
        "<|eot_id|>",
        &[
            "<|begin_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
        ],
    ),
    ("<end_of_turn>", &["<start_of_turn>"]),
    ("<turn|>", &["<|turn>"]),
    (
        "[|endofturn|]",
        &["[|system|]", "[|user|]", "[|assistant|]", "[|tool|]"],
    ),
    ("<|end|>", &["<|system|>", "<|user|>", "<|assistant|>"]),
    ("</s>", &["[INST]", "[/INST]"]),
];

/// Pieces that end an answer only where they are control tokens: elsewhere they
/// are text (Gemma has `</s>` for struck-out HTML).
pub(super) const ENDS_IF_CONTROL: &[&str] = &["</s>", "<eos>", "[EOS]", "[EOT]", "<EOT>"];

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment<'t> {
    /// Text to tokenize.
    Text(&'t str),
    /// A special token.
    Token(u32),
}

/// The tokens that are matched in raw text.
#[derive(Debug, Clone)]
pub(super) struct SpecialTokens {
    /// Those of the kinds that the algorithm does not recognize itself.
    tokens: Prefixes,
    /// Tokens that strip the white space before them from the text.
    strip_left: Vec<u32>,
    /// Tokens that strip the white space after them.
    strip_right: Vec<u32>,
}

/// A token that is matched at some place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    // The order of fields is that of preference: long ones first, then left ones.
    len: usize,
    start: Reverse<usize>,
    id: u32,
}

impl SpecialTokens {
    /// Collects the tokens of these kinds.
    pub(super) fn new(
        gguf: &Gguf,
        vocab: &Vocab,
        kinds: fn(TokenKind) -> bool,
    ) -> Result<SpecialTokens> {
        let tokens = Prefixes::new(vocab, vocab.ids_of_kinds(kinds))?;
        let strip_left = left_strippers(gguf, vocab)?;
        let strip_right = right_strippers(gguf, vocab, tokens.ids())?;
        Ok(SpecialTokens {
            tokens,
            strip_left,
            strip_right,
        })
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let strip = heap::bytes(&self.strip_left) + heap::bytes(&self.strip_right);
        self.tokens.heap_bytes() + strip
    }

    /// The tokens that may be matched, sorted by piece.
    #[cfg(feature = "std")]
    pub(super) fn ids(&self) -> &[u32] {
        self.tokens.ids()
    }

    /// Cuts text at special tokens and hands the fragments to `emit`, in order.
    ///
    /// Longer tokens are cut out before shorter ones, wherever they are, and left
    /// before right. `counts` says whether a token of this kind may be in this
    /// place of the text.
    pub(super) fn split<'t>(
        &self,
        vocab: &Vocab,
        text: &'t str,
        counts: impl Fn(Range<usize>, TokenKind) -> bool,
        mut emit: impl FnMut(Fragment<'t>),
    ) {
        let mut done = 0;
        for (start, (end, id)) in self.claims(vocab, text, counts) {
            if done < start {
                emit(Fragment::Text(&text[done..start]));
            }
            emit(Fragment::Token(id));
            done = end;
        }
        if done < text.len() {
            emit(Fragment::Text(&text[done..]));
        }
    }

    /// Start, end and id of each special token in the text; start and end include the white
    /// space that it strips.
    pub(super) fn claims(
        &self,
        vocab: &Vocab,
        text: &str,
        counts: impl Fn(Range<usize>, TokenKind) -> bool,
    ) -> BTreeMap<usize, (usize, u32)> {
        let mut waiting: BinaryHeap<Match> = text
            .char_indices()
            .filter_map(|(start, _)| self.longest_at(vocab, text, start, text.len(), &counts))
            .collect();
        let mut claims = BTreeMap::new();
        while let Some(Match {
            len,
            start: Reverse(start),
            id,
        }) = waiting.pop()
        {
            let before = claims.range(..=start).next_back();
            let floor = before.map_or(0, |(_, &(end, _))| end);
            let ceiling = claims
                .range(start..)
                .next()
                .map_or(text.len(), |(&next, _)| next);
            if start < floor {
                continue;
            }
            if start + len > ceiling {
                waiting.extend(self.longest_at(vocab, text, start, ceiling, &counts));
                continue;
            }
            let (start, end) = self.strip(id, text, floor, start..start + len, ceiling);
            claims.insert(start, (end, id));
        }
        claims
    }

    /// The longest special token that begins at `start` and ends by `limit`.
    fn longest_at(
        &self,
        vocab: &Vocab,
        text: &str,
        start: usize,
        limit: usize,
        counts: &impl Fn(Range<usize>, TokenKind) -> bool,
    ) -> Option<Match> {
        let rest = &text.as_bytes()[start..limit];
        let matches = self.tokens.of(vocab, rest).filter_map(|(len, same)| {
            let &id = same.first()?;
            let counts = counts(start..start + len, vocab.kind(id)?);
            (counts && text.is_char_boundary(start + len)).then_some(Match {
                len,
                start: Reverse(start),
                id,
            })
        });
        matches.last()
    }

    /// Widens a match by the white space that its token strips.
    fn strip(
        &self,
        id: u32,
        text: &str,
        floor: usize,
        found: Range<usize>,
        ceiling: usize,
    ) -> (usize, usize) {
        let (mut start, mut end) = (found.start, found.end);
        if self.strip_left.contains(&id) {
            start = floor + text[floor..start].trim_end_matches(is_c_space).len();
        }
        if self.strip_right.contains(&id) {
            end = ceiling - text[end..ceiling].trim_start_matches(is_c_space).len();
        }
        (start, end)
    }
}

/// The white space of C's `isspace`.
fn is_c_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The mask tokens of some embedding models strip the white space before them. GGUF has no
/// key for this, so the models are recognized by the names of their pre-tokenizers.
fn left_strippers(gguf: &Gguf, vocab: &Vocab) -> Result<Vec<u32>> {
    let mask = match gguf.opt_str(PRE_TOKENIZER)?.unwrap_or_default() {
        "jina-v2-de" | "jina-v2-es" | "jina-v2-code" => "<mask>",
        "modern-bert" => "[MASK]",
        _ => return Ok(Vec::new()),
    };
    Ok(vocab.id_of(mask.as_bytes()).into_iter().collect())
}

/// In Phi-3 and 3.5, nearly all special tokens strip the white space after them (`rstrip` in
/// their `tokenizer.json`, which GGUF does not keep). These are the models of this
/// architecture that have a SentencePiece vocabulary; Phi-4's is byte-level BPE.
fn right_strippers(gguf: &Gguf, vocab: &Vocab, special: &[u32]) -> Result<Vec<u32>> {
    let architecture = gguf.opt_str("general.architecture")?;
    if (architecture, gguf.opt_str(MODEL)?) != (Some("phi3"), Some("llama")) {
        return Ok(Vec::new());
    }
    let strips = |id: &u32| {
        let piece = vocab.piece(*id).unwrap_or_default();
        ![&b"<unk>"[..], b"<s>", b"<|endoftext|>"].contains(&piece)
    };
    Ok(special.iter().copied().filter(strips).collect())
}

//! Text to token ids and back, from GGUF metadata.
//!
//! ```text
//! text -> special -> normalizer -> pretokenizer -> bpe -> ids -> stream -> text
//!                 -> spm
//!                 -> charsmap -> unigram
//!                 -> wordpiece
//!                 -> rwkv
//!                 -> plamo
//! ```
//!
//! | file | job |
//! | --- | --- |
//! | `vocab`, `strings` | pieces, their kinds and scores; look-up in both directions |
//! | `special` | special tokens, cut out of the text first |
//! | `normalizer` | Unicode normalization, if the model's tokenizer has it |
//! | `pretokenizer` | text to words, by a table of rules |
//! | `bpe`, `spm`, `unigram`, `wordpiece`, `rwkv`, `plamo` | the algorithms; the first two share `merge`, `merges` |
//! | `prefixes` | the tokens that a text begins with, for `rwkv`, `plamo` and `special` |
//! | `charsmap` | the table with which `unigram` normalizes text |
//! | `stream` | ids to text, complete characters only |
//! | `unicode` | categories, lower case, base letters |

mod bpe;
mod charsmap;
mod merge;
mod merges;
mod normalizer;
mod plamo;
mod prefixes;
mod pretokenizer;
mod rwkv;
mod special;
mod spm;
mod stream;
mod strings;
#[cfg(test)]
mod tests;
mod unicode;
mod unigram;
mod vocab;
mod wordpiece;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::gguf::Gguf;
use crate::{Error, Result, WHOLE, Warning, heap};
use bpe::Bpe;
use plamo::Plamo;
use rwkv::Rwkv;
use special::{ENDS, ENDS_IF_CONTROL, Fragment, MARKS, SpecialTokens};
use spm::Spm;
use unigram::Unigram;
use vocab::Vocab;
use wordpiece::WordPiece;

pub use stream::StreamDecoder;
pub use vocab::TokenKind;

/// The algorithms of this build; code behind a `false` is not compiled in.
const BPE: bool = cfg!(feature = "tokenizer-bpe");
const SPM: bool = cfg!(feature = "tokenizer-spm");
const WORDPIECE: bool = cfg!(feature = "tokenizer-wordpiece");
/// No architecture of firmware builds has models with these.
const GEMMA4: bool = SPM && WHOLE;
const UNIGRAM: bool = SPM && WHOLE;

/// The key that says how text is split into words before byte-level BPE.
pub const PRE_TOKENIZER: &str = "tokenizer.ggml.pre";

const MODEL: &str = "tokenizer.ggml.model";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const CLS: &str = "tokenizer.ggml.cls_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const EOT: &str = "tokenizer.ggml.eot_token_id";
const EOM: &str = "tokenizer.ggml.eom_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
/// GGUF spells the key `seperator`.
const SEPARATOR: &str = "tokenizer.ggml.seperator_token_id";

/// The vocabulary of a model, and its conversion of text to tokens and back.
///
/// It borrows nothing: the file may be closed once the tokenizer is made.
#[derive(Clone)]
pub struct Tokenizer {
    vocab: Vocab,
    algorithm: Algorithm,
    special: SpecialTokens,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    /// The tokens that `add_special` puts before and after a text.
    before: Option<u32>,
    after: Option<u32>,
    /// Tokens that end an answer.
    ends: Vec<u32>,
    warnings: Vec<Warning>,
}

#[derive(Clone)]
enum Algorithm {
    Bpe(Bpe),
    Spm(Spm),
    Unigram(Unigram),
    WordPiece(WordPiece),
    Rwkv(Rwkv),
    Plamo(Plamo),
}

impl Algorithm {
    /// The kinds of tokens that are cut out of text before the algorithm gets the rest.
    fn special_kinds(&self) -> fn(TokenKind) -> bool {
        use TokenKind::{Control, Unknown, UserDefined};
        match self {
            // It recognizes user-defined tokens itself.
            Algorithm::Unigram(_) => |kind| matches!(kind, Control | Unknown),
            _ => |kind| matches!(kind, Control | Unknown | UserDefined),
        }
    }
}

/// The values of [`PRE_TOKENIZER`] that this build knows.
pub fn pre_tokenizers() -> impl Iterator<Item = &'static str> {
    pretokenizer::names()
}

/// How [`Tokenizer::encode`] handles special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Adds BOS and EOS (or the tokens in their place) if the file asks for them.
    pub add_special: bool,
    /// Recognizes control tokens that are spelled in the text. Leave it off for text of
    /// users, which could otherwise pose as a system message.
    pub parse_special: bool,
}

impl Tokenizer {
    /// Reads the `tokenizer.ggml.*` keys.
    ///
    /// # Errors
    /// [`Error::MissingKey`] for keys that the algorithm needs; [`Error::BadValue`] for
    /// an unknown algorithm or pre-tokenizer, ids that are not integers, and lists of
    /// the wrong type or length; [`Error::Tokenizer`] for a vocabulary that is too
    /// large, has too many equal tokens, or lacks what the algorithm needs;
    /// [`Error::OutOfMemory`].
    pub fn from_gguf(gguf: &Gguf) -> Result<Tokenizer> {
        let model = gguf.str(MODEL)?;
        let mut vocab = Vocab::from_gguf(gguf, WHOLE && model == "rwkv")?;
        let mut ids = Ids {
            gguf,
            tokens: vocab.len(),
            warnings: Vec::new(),
        };
        // Before the algorithms sort tokens by kind.
        let turn_ends = retype_ends(&mut vocab, &mut ids.warnings);
        if WHOLE {
            retype_marks(&mut vocab, &mut ids.warnings);
        }
        let (algorithm, bos, eos, before, after) = match model {
            "gpt2" if BPE => {
                let bpe = Bpe::from_gguf(gguf)?;
                if gguf.get(PRE_TOKENIZER).is_none() {
                    ids.warnings
                        .push(Warning::NoPreTokenizer { key: PRE_TOKENIZER });
                }
                let (bos, eos) = (ids.read(BOS)?, ids.read(EOS)?);
                let (before, after) = ids.added(bos, eos, bpe.adds_bos(), false)?;
                (Algorithm::Bpe(bpe), bos, eos, before, after)
            }
            "llama" if SPM => {
                let unknown = ids.read_or(UNKNOWN, 0)?;
                let prefix = gguf.opt_bool(unigram::SPACE_PREFIX)?.unwrap_or(true);
                let spm = Spm::from_gguf(gguf, &vocab, unknown, prefix)?;
                let (bos, eos) = (ids.read_or(BOS, 1)?, ids.read_or(EOS, 2)?);
                let (before, after) = ids.added(bos, eos, true, false)?;
                (Algorithm::Spm(spm), bos, eos, before, after)
            }
            "gemma4" if GEMMA4 => {
                let unknown = ids.read_or(UNKNOWN, 3)?;
                let spm = Spm::by_merges(gguf, &vocab, unknown)?;
                let (bos, eos) = (ids.read_or(BOS, 2)?, ids.read_or(EOS, 1)?);
                let (before, after) = ids.added(bos, eos, true, false)?;
                (Algorithm::Spm(spm), bos, eos, before, after)
            }
            "t5" if UNIGRAM => {
                let unknown = vocab.ids_of_kinds(|kind| kind == TokenKind::Unknown).next();
                let unknown = ids.read_or(UNKNOWN, unknown.unwrap_or(2))?;
                let unigram = Unigram::from_gguf(gguf, &vocab, unknown)?;
                let (bos, eos) = (ids.read(BOS)?, ids.read_or(EOS, 1)?);
                let (before, after) = ids.added(bos, eos, false, true)?;
                (Algorithm::Unigram(unigram), bos, eos, before, after)
            }
            "bert" if WORDPIECE => {
                let word_piece = WordPiece::from_gguf(gguf, ids.read_or(UNKNOWN, 100)?)?;
                let cls = ids.read(BOS)?.or(ids.read_or(CLS, 101)?);
                let separator = ids.read_or(SEPARATOR, 102)?;
                (
                    Algorithm::WordPiece(word_piece),
                    cls,
                    ids.read(EOS)?,
                    cls,
                    separator,
                )
            }
            "rwkv" if WHOLE => {
                let rwkv = Rwkv::new(&vocab, ids.read(UNKNOWN)?)?;
                let (bos, eos) = (ids.read(BOS)?, ids.read(EOS)?);
                let (before, after) = ids.added(bos, eos, false, false)?;
                (Algorithm::Rwkv(rwkv), bos, eos, before, after)
            }
            "plamo2" if WHOLE => {
                let plamo = Plamo::from_gguf(gguf, &vocab)?;
                let (bos, eos) = (ids.read_or(BOS, 1)?, ids.read_or(EOS, 2)?);
                let (before, after) = ids.added(bos, eos, false, false)?;
                (Algorithm::Plamo(plamo), bos, eos, before, after)
            }
            other => {
                let known = [
                    ("gpt2", BPE),
                    ("llama", SPM),
                    ("gemma4", GEMMA4),
                    ("t5", UNIGRAM),
                    ("bert", WORDPIECE),
                    ("rwkv", WHOLE),
                    ("plamo2", WHOLE),
                ];
                let known = known
                    .iter()
                    .filter_map(|&(name, here)| here.then_some(name));
                let known = known.collect::<Vec<_>>().join(", ");
                let reason = format!("unknown tokenizer `{other}`; this build knows {known}");
                return Err(Error::BadValue {
                    key: MODEL.into(),
                    reason,
                });
            }
        };
        let eot = ids.read(EOT)?.or(turn_ends.first().copied());
        let mut ends: Vec<u32> = [eos, eot, ids.read(EOM)?].into_iter().flatten().collect();
        ends.extend(turn_ends);
        ends.extend(ENDS_IF_CONTROL.iter().filter_map(|piece| {
            let id = vocab.id_of(piece.as_bytes())?;
            (vocab.kind(id) == Some(TokenKind::Control)).then_some(id)
        }));
        ends.sort_unstable();
        ends.dedup();
        let special = SpecialTokens::new(gguf, &vocab, algorithm.special_kinds())?;
        Ok(Tokenizer {
            vocab,
            algorithm,
            special,
            bos,
            eos,
            eot,
            before,
            after,
            ends,
            warnings: ids.warnings,
        })
    }

    /// The token ids of `text`.
    ///
    /// User-defined tokens are always recognized first, control tokens if
    /// `parse_special` is set; longer ones before shorter ones. T5's user-defined tokens are
    /// recognized from left to right, as SentencePiece does.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Vec<u32> {
        let mut ids = Vec::new();
        if options.add_special {
            ids.extend(self.before);
        }
        let all = options.parse_special;
        let counts = |_, kind| all || kind == TokenKind::UserDefined;
        self.encode_part(text, true, counts, &mut ids);
        if options.add_special {
            ids.extend(self.after);
        }
        ids
    }

    /// Appends the ids of a part of a text. `first` says whether the part begins the text;
    /// `counts` says whether a special token of this kind is recognized at these byte
    /// offsets of the part.
    pub(crate) fn encode_part(
        &self,
        part: &str,
        first: bool,
        counts: impl Fn(Range<usize>, TokenKind) -> bool,
        ids: &mut Vec<u32>,
    ) {
        let mut first = first;
        self.special.split(&self.vocab, part, counts, |fragment| {
            match fragment {
                Fragment::Token(id) => ids.push(id),
                Fragment::Text(text) => self.encode_plain(text, first, ids),
            }
            first = matches!(fragment, Fragment::Token(_));
        });
    }

    fn encode_plain(&self, text: &str, first: bool, ids: &mut Vec<u32>) {
        match &self.algorithm {
            Algorithm::Bpe(bpe) if BPE => bpe.encode(&self.vocab, text, ids),
            Algorithm::Spm(spm) if SPM => spm.encode(&self.vocab, text, first, ids),
            Algorithm::Unigram(unigram) if UNIGRAM => {
                unigram.encode(&self.vocab, text, first, ids);
            }
            Algorithm::WordPiece(word_piece) if WORDPIECE => {
                word_piece.encode(&self.vocab, text, ids);
            }
            Algorithm::Rwkv(rwkv) if WHOLE => rwkv.encode(&self.vocab, text, ids),
            Algorithm::Plamo(plamo) if WHOLE => plamo.encode(&self.vocab, text, ids),
            _ => unreachable!("`from_gguf` refuses what is not in the build"),
        }
    }

    /// The pieces that only a chat template may write: those of all tokens that
    /// `parse_special` adds to the user-defined ones.
    #[cfg(feature = "std")]
    pub(crate) fn control_pieces(&self) -> impl Iterator<Item = &[u8]> {
        let control = |&&id: &&u32| self.vocab.kind(id) != Some(TokenKind::UserDefined);
        let ids = self.special.ids().iter().filter(control);
        ids.filter_map(|&id| self.vocab.piece(id))
    }

    /// The byte ranges of control tokens in a text where `counts` allows them, with the
    /// white space that they strip.
    #[cfg(feature = "std")]
    pub(crate) fn control_places(
        &self,
        text: &str,
        counts: impl Fn(Range<usize>, TokenKind) -> bool,
    ) -> Vec<Range<usize>> {
        let claims = self.special.claims(&self.vocab, text, counts);
        let control = |id| self.vocab.kind(id) != Some(TokenKind::UserDefined);
        let claims = claims.into_iter().filter(|&(_, (_, id))| control(id));
        claims.map(|(start, (end, _))| start..end).collect()
    }

    /// The text of these tokens, with U+FFFD for bytes that are not UTF-8. The space that
    /// some tokenizers put before a text is left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &id in ids {
            self.piece(id, &mut bytes);
        }
        let skipped = usize::from(self.strips_first_space() && bytes.first() == Some(&b' '));
        String::from_utf8_lossy(&bytes[skipped..]).into_owned()
    }

    /// Appends the bytes of text that a token stands for: part of a character, one
    /// character, or several. Control, unknown and unused tokens, and ids outside the
    /// vocabulary, have none; [`Tokenizer::token_bytes`] gives the spelling of a token.
    pub fn piece(&self, id: u32, bytes: &mut Vec<u8>) {
        let (Some(piece), Some(kind)) = (self.vocab.piece(id), self.vocab.kind(id)) else {
            return;
        };
        match kind {
            TokenKind::Control | TokenKind::Unknown | TokenKind::Unused => {}
            TokenKind::Byte => bytes.extend(vocab::parse_byte_piece(piece)),
            TokenKind::Normal | TokenKind::UserDefined => match self.algorithm {
                Algorithm::Unigram(_) => spm::decode_piece(piece, bytes),
                _ if kind == TokenKind::UserDefined => bytes.extend_from_slice(piece),
                Algorithm::Bpe(_) => bpe::decode_piece(piece, bytes),
                Algorithm::Spm(_) | Algorithm::WordPiece(_) => spm::decode_piece(piece, bytes),
                Algorithm::Rwkv(_) | Algorithm::Plamo(_) => bytes.extend_from_slice(piece),
            },
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let algorithm = match &self.algorithm {
            Algorithm::Bpe(bpe) => bpe.heap_bytes(),
            Algorithm::Spm(spm) => spm.heap_bytes(),
            Algorithm::Unigram(unigram) => unigram.heap_bytes(),
            Algorithm::WordPiece(_) => 0,
            Algorithm::Rwkv(rwkv) => rwkv.heap_bytes(),
            Algorithm::Plamo(plamo) => plamo.heap_bytes(),
        };
        let lists =
            self.special.heap_bytes() + heap::bytes(&self.ends) + heap::bytes(&self.warnings);
        self.vocab.heap_bytes() + algorithm + lists
    }

    /// How many tokens the vocabulary has; ids are below this.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    /// A token as the file spells it: `Ġhello`, `▁hello`, `<0x0A>`, `<|im_end|>`. RWKV's
    /// tokens are without their escapes.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocab.piece(id)
    }

    /// What kind of token this is.
    pub fn token_kind(&self, id: u32) -> Option<TokenKind> {
        self.vocab.kind(id)
    }

    /// The token with this spelling in the file; the lowest id if there are several.
    pub fn id_of(&self, piece: impl AsRef<[u8]>) -> Option<u32> {
        self.vocab.id_of(piece.as_ref())
    }

    /// The token that begins a text (BOS), if the file has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text (EOS), if the file has one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that ends a turn of a chat (EOT), if the file has one.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// The token that `add_special` puts before a text, if any.
    pub fn added_bos(&self) -> Option<u32> {
        self.before
    }

    /// Faults of the file that were repaired.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether generation stops at this token: EOS, EOT, and tokens that are known to
    /// have the same meaning.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// Whether a space at the beginning of decoded text comes from the tokenizer, and is to
    /// be dropped.
    pub(crate) fn strips_first_space(&self) -> bool {
        match &self.algorithm {
            Algorithm::Bpe(_) | Algorithm::Rwkv(_) | Algorithm::Plamo(_) => false,
            Algorithm::Spm(spm) => spm.space_prefix(),
            Algorithm::Unigram(unigram) => unigram.changes_first_space(),
            Algorithm::WordPiece(_) => true,
        }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self.algorithm {
            Algorithm::Bpe(_) => "gpt2",
            Algorithm::Spm(_) => "llama",
            Algorithm::Unigram(_) => "t5",
            Algorithm::WordPiece(_) => "bert",
            Algorithm::Rwkv(_) => "rwkv",
            Algorithm::Plamo(_) => "plamo2",
        };
        f.debug_struct("Tokenizer")
            .field("algorithm", &algorithm)
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}

/// Makes all [`ENDS`] in the vocabulary control tokens, and returns their ids.
fn retype_ends(vocab: &mut Vocab, warnings: &mut Vec<Warning>) -> Vec<u32> {
    let ends: Vec<u32> = ENDS
        .iter()
        .filter_map(|piece| vocab.id_of(piece.as_bytes()))
        .collect();
    for &id in &ends {
        if vocab.kind(id) == Some(TokenKind::Normal) {
            let piece = vocab.piece(id).unwrap_or_default();
            let piece = String::from_utf8_lossy(piece).into_owned();
            warnings.push(Warning::EndIsText { piece });
        }
        vocab.set_kind(id, TokenKind::Control);
    }
    ends
}

/// Makes those [`MARKS`] control tokens that the file marks as text, if the piece that ends
/// a turn in their family is in the vocabulary too.
fn retype_marks(vocab: &mut Vocab, warnings: &mut Vec<Warning>) {
    let families = MARKS
        .iter()
        .filter(|(end, _)| vocab.id_of(end.as_bytes()).is_some());
    let marks = families.flat_map(|(_, marks)| marks.iter());
    let text: Vec<(u32, &str)> = marks
        .filter_map(|&mark| Some((vocab.id_of(mark.as_bytes())?, mark)))
        .filter(|&(id, _)| vocab.kind(id) == Some(TokenKind::Normal))
        .collect();
    for (id, mark) in text {
        let piece = mark.into();
        warnings.push(Warning::MarkIsText { piece });
        vocab.set_kind(id, TokenKind::Control);
    }
}

/// Reads ids of special tokens. An invalid id is ignored, with a warning.
struct Ids<'a> {
    gguf: &'a Gguf<'a>,
    tokens: usize,
    warnings: Vec<Warning>,
}

impl Ids<'_> {
    /// An id of the vocabulary. Some writers put -1, or 2^32-1, for "none".
    fn read(&mut self, key: &'static str) -> Result<Option<u32>> {
        let Some(value) = self.gguf.get(key) else {
            return Ok(None);
        };
        let Some(id) = value.as_i64() else {
            return self.gguf.opt_u32(key);
        };
        let tokens = self.tokens;
        let known = u32::try_from(id).ok().filter(|&id| (id as usize) < tokens);
        if known.is_none() {
            self.warnings.push(Warning::NoSuchToken { key, id, tokens });
        }
        Ok(known)
    }

    /// As [`Ids::read`]; where the file does not say, the default of the format if
    /// the vocabulary has it.
    fn read_or(&mut self, key: &'static str, default: u32) -> Result<Option<u32>> {
        let known = Some(default).filter(|&id| (id as usize) < self.tokens);
        Ok(self.read(key)?.or(known))
    }

    /// The tokens put before and after a text, by `add_bos_token` and `add_eos_token`.
    fn added(
        &mut self,
        bos: Option<u32>,
        eos: Option<u32>,
        bos_by_default: bool,
        eos_by_default: bool,
    ) -> Result<(Option<u32>, Option<u32>)> {
        let before = match self.gguf.opt_bool(ADD_BOS)? {
            Some(add) => self.asked_for(add, bos, ADD_BOS, BOS),
            None => bos.filter(|_| bos_by_default),
        };
        let after = match self.gguf.opt_bool(ADD_EOS)? {
            Some(add) => self.asked_for(add, eos, ADD_EOS, EOS),
            None => eos.filter(|_| eos_by_default),
        };
        Ok((before, after))
    }

    /// The token, if the file asks for it. A file that asks for a token which it does not
    /// name gets a warning.
    fn asked_for(
        &mut self,
        asked: bool,
        id: Option<u32>,
        key: &'static str,
        token_key: &'static str,
    ) -> Option<u32> {
        if asked && id.is_none() {
            self.warnings.push(Warning::NothingToAdd { key, token_key });
        }
        id.filter(|_| asked)
    }
}

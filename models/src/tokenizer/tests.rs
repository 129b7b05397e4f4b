//! The rules that matter, on vocabularies small enough to check by hand.

use super::*;
use crate::gguf::Gguf;
use proptest::prelude::*;
use std::vec;

/// Metadata of a file under construction.
#[derive(Default, Clone)]
pub(super) struct File {
    bytes: Vec<u8>,
    keys: u64,
}

/// Kinds of tokens as files have them.
pub(super) const NORMAL: i32 = 1;
pub(super) const UNK: i32 = 2;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER: i32 = 4;
pub(super) const UNUSED: i32 = 5;
pub(super) const BYTE: i32 = 6;

impl File {
    pub(super) fn new(model: &str) -> File {
        File::default().str("tokenizer.ggml.model", model)
    }

    fn key(mut self, key: &str, kind: u32) -> File {
        self.keys += 1;
        self.put_text(key.as_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self
    }

    fn put_text(&mut self, text: &[u8]) {
        self.bytes.extend((text.len() as u64).to_le_bytes());
        self.bytes.extend(text);
    }

    pub(super) fn str(self, key: &str, value: &str) -> File {
        let mut file = self.key(key, 8);
        file.put_text(value.as_bytes());
        file
    }

    pub(super) fn u32(self, key: &str, value: u32) -> File {
        let mut file = self.key(key, 4);
        file.bytes.extend(value.to_le_bytes());
        file
    }

    pub(super) fn bool(self, key: &str, value: bool) -> File {
        let mut file = self.key(key, 7);
        file.bytes.push(value.into());
        file
    }

    pub(super) fn texts(self, key: &str, values: &[impl AsRef<[u8]>]) -> File {
        let mut file = self.array(key, 8, values.len());
        for value in values {
            file.put_text(value.as_ref());
        }
        file
    }

    pub(super) fn words(
        self,
        key: &str,
        kind: u32,
        values: impl ExactSizeIterator<Item = [u8; 4]>,
    ) -> File {
        let mut file = self.array(key, kind, values.len());
        file.bytes.extend(values.flatten());
        file
    }

    /// An array of u8.
    pub(super) fn octets(self, key: &str, values: &[u8]) -> File {
        let mut file = self.array(key, 0, values.len());
        file.bytes.extend(values);
        file
    }

    fn array(self, key: &str, kind: u32, len: usize) -> File {
        let mut file = self.key(key, 9);
        file.bytes.extend(kind.to_le_bytes());
        file.bytes.extend((len as u64).to_le_bytes());
        file
    }

    /// Pieces and kinds.
    pub(super) fn tokens(self, tokens: &[(&str, i32)]) -> File {
        let pieces: Vec<&str> = tokens.iter().map(|&(piece, _)| piece).collect();
        self.texts("tokenizer.ggml.tokens", &pieces).words(
            "tokenizer.ggml.token_type",
            5,
            tokens.iter().map(|&(_, kind)| kind.to_le_bytes()),
        )
    }

    fn merges(self, merges: &[&str]) -> File {
        self.texts("tokenizer.ggml.merges", merges)
    }

    pub(super) fn scores(self, scores: &[f32]) -> File {
        self.words(
            "tokenizer.ggml.scores",
            6,
            scores.iter().map(|score| score.to_le_bytes()),
        )
    }

    pub(super) fn load(&self) -> Result<Tokenizer> {
        Tokenizer::from_gguf(&Gguf::parse(&self.to_vec()).unwrap())
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let header = [
            &b"GGUF"[..],
            &3_u32.to_le_bytes(),
            &[0; 8],
            &self.keys.to_le_bytes(),
        ];
        [&header.concat()[..], &self.bytes].concat()
    }
}

pub(super) const PLAIN: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};
pub(super) const ALL: EncodeOptions = EncodeOptions {
    add_special: true,
    parse_special: true,
};

/// The raw pieces of what `text` is encoded to, separated by `|`.
pub(super) fn pieces(tokenizer: &Tokenizer, text: &str, options: EncodeOptions) -> String {
    let spell = |&id: &u32| String::from_utf8_lossy(tokenizer.token_bytes(id).unwrap());
    let ids = tokenizer.encode(text, options);
    ids.iter().map(spell).collect::<Vec<_>>().join("|")
}

/// Pushes tokens one by one; each step's text.
pub(super) fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut decoder = StreamDecoder::new();
    let mut steps: Vec<String> = ids
        .iter()
        .map(|&id| {
            let mut text = String::new();
            decoder.push(tokenizer, id, &mut text);
            text
        })
        .collect();
    let mut rest = String::new();
    decoder.finish(&mut rest);
    steps.push(rest);
    steps
}

/// The decoded text without a last character that is incomplete.
fn complete(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut bytes = Vec::new();
    ids.iter().for_each(|&id| tokenizer.piece(id, &mut bytes));
    let end = bytes.utf8_chunks().last().map_or(&[][..], |c| c.invalid());
    let is_cut = core::str::from_utf8(end).is_err_and(|e| e.error_len().is_none());
    let text = tokenizer.decode(ids);
    let less = if is_cut { "\u{fffd}" } else { "" };
    text.strip_suffix(less).unwrap().to_owned()
}

/// A byte-level vocabulary: some letters, `Ġ`, the bytes of 가 (EA B0 80), and more.
fn bpe_file() -> File {
    bpe_file_split_as("gpt-2")
}

fn bpe_file_split_as(pre: &str) -> File {
    File::new("gpt2")
        .str("tokenizer.ggml.pre", pre)
        .tokens(&[
            ("<|endoftext|>", CONTROL),
            ("<|im_start|>", CONTROL),
            ("<|im_end|>", NORMAL),
            ("a", NORMAL),
            ("b", NORMAL),
            ("c", NORMAL),
            ("Ġ", NORMAL),
            ("ab", NORMAL),
            ("Ġab", NORMAL),
            ("bc", NORMAL),
            ("abc", NORMAL),
            ("ê", NORMAL),
            ("°", NORMAL),
            ("Ģ", NORMAL),
            ("ê°", NORMAL),
            ("[b]", USER),
            ("Ċ", NORMAL),
        ])
        .merges(&["a b", "Ġ ab", "b c", "ê °", "a c"])
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 0)
}

fn spm_file() -> File {
    let tokens = [
        ("<unk>", UNK),
        ("<s>", CONTROL),
        ("</s>", CONTROL),
        ("<0xEA>", BYTE),
        ("<0xB0>", BYTE),
        ("<0x80>", BYTE),
        ("▁", NORMAL),
        ("a", NORMAL),
        ("b", NORMAL),
        ("▁a", NORMAL),
        ("ab", NORMAL),
        ("▁ab", NORMAL),
        ("aa", NORMAL),
        ("  ", USER),
    ];
    let scores = [
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -9.0, -8.0, -7.0, -2.0, -1.0, -3.0, -4.0, 0.0,
    ];
    File::new("llama").tokens(&tokens).scores(&scores)
}

fn bert_file() -> File {
    File::new("bert")
        .tokens(&[
            ("[UNK]", CONTROL),
            ("[CLS]", CONTROL),
            ("[SEP]", CONTROL),
            ("▁pl", NORMAL),
            ("▁play", NORMAL),
            ("ing", NORMAL),
            ("▁,", NORMAL),
            ("▁cafe", NORMAL),
            ("▁中", NORMAL),
            ("▁~", NORMAL),
        ])
        .u32("tokenizer.ggml.unknown_token_id", 0)
        .u32("tokenizer.ggml.cls_token_id", 1)
        .u32("tokenizer.ggml.seperator_token_id", 2)
}

#[test]
fn bpe_merges_by_rank_within_words() {
    let tokenizer = bpe_file().load().unwrap();
    assert_eq!(pieces(&tokenizer, "abc ab a", PLAIN), "ab|c|Ġab|Ġ|a");
    assert_eq!(pieces(&tokenizer, "가\n", PLAIN), "ê°|Ģ|Ċ");
    assert!(tokenizer.encode("", PLAIN).is_empty());
}

#[test]
fn bpe_drops_what_the_vocabulary_cannot_spell() {
    let tokenizer = bpe_file().load().unwrap();
    // "ac" is a merge, but no token: it becomes the tokens of its letters. "z" is no token.
    assert_eq!(pieces(&tokenizer, "acz", PLAIN), "a|c");
}

#[test]
fn whole_words_go_before_merges_in_the_llama3_family() {
    assert_eq!(pieces(&bpe_file().load().unwrap(), "abc", PLAIN), "ab|c");
    assert_eq!(
        pieces(&bpe_file_split_as("glm4").load().unwrap(), "abc", PLAIN),
        "abc"
    );
}

/// A control token can also be spelled by merges, whole words or characters of plain text.
#[test]
fn plain_text_never_becomes_a_control_token() {
    let spm = File::new("llama")
        .tokens(&[
            ("<unk>", UNK),
            ("<", NORMAL),
            ("s", NORMAL),
            (">", NORMAL),
            ("<s", NORMAL),
            ("<s>", CONTROL),
            ("☎", CONTROL),
        ])
        .scores(&[0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0])
        .bool("tokenizer.ggml.add_space_prefix", false)
        .load()
        .unwrap();
    assert_eq!(pieces(&spm, "<s>", PLAIN), "<s|>");
    assert!(!pieces(&spm, "☎", PLAIN).contains('☎'));
    let bpe = |pre: &str| {
        let file = File::new("gpt2").str("tokenizer.ggml.pre", pre);
        let tokens = [
            ("e", NORMAL),
            ("n", NORMAL),
            ("d", NORMAL),
            ("en", NORMAL),
            ("end", CONTROL),
        ];
        file.tokens(&tokens)
            .merges(&["e n", "en d"])
            .load()
            .unwrap()
    };
    for pre in ["gpt-2", "llama-bpe"] {
        assert!(
            !pieces(&bpe(pre), "end", PLAIN)
                .split('|')
                .any(|piece| piece == "end"),
            "{pre}"
        );
    }
}

/// Gemma 4 spells spaces and bytes like SentencePiece. What is merged is decided by a list
/// of merges, and neither by scores nor by which pieces the vocabulary has.
#[test]
fn merges_may_come_from_a_list_in_sentencepiece_too() {
    let file = File::new("gemma4")
        .tokens(&[
            ("<pad>", CONTROL),
            ("<eos>", CONTROL),
            ("<bos>", CONTROL),
            ("<unk>", UNK),
            ("<0xEA>", BYTE),
            ("<0xB0>", BYTE),
            ("<0x80>", BYTE),
            ("a", NORMAL),
            ("b", NORMAL),
            ("c", NORMAL),
            ("▁", NORMAL),
            ("ab", NORMAL),
            ("bc", NORMAL),
            ("▁a", NORMAL),
            ("▁ab", NORMAL),
            ("\n", NORMAL),
            ("\n\n\n", NORMAL),
            ("<|turn>", CONTROL),
            ("<turn|>", CONTROL),
            ("한", NORMAL),
        ])
        .merges(&["b c", "▁ a", "a b", "▁a b"]);
    let tokenizer = file.load().unwrap();
    let plain = |text: &str| pieces(&tokenizer, text, PLAIN);
    assert_eq!(plain("abc"), "a|bc");
    assert_eq!(plain("ab ab"), "ab|▁ab");
    assert_eq!(plain("한 가"), "한|▁|<0xEA>|<0xB0>|<0x80>");
    // The token of three newlines is used, although no merge makes it.
    assert_eq!(plain("a\n\n\nb"), "a|\n\n\n|b");
    assert_eq!(plain("a\n\nb"), "a|\n|\n|b");
    assert_eq!(
        plain("<|turn>"),
        "<unk>|<unk>|<unk>|<unk>|<unk>|<unk>|<unk>"
    );
    let chat = "<|turn>a<turn|>\n";
    assert_eq!(pieces(&tokenizer, chat, ALL), "<bos>|<|turn>|a|<turn|>|\n");
    assert!(tokenizer.is_end_of_generation(18));
    let ids = tokenizer.encode("ab 한\n가", PLAIN);
    assert_eq!(tokenizer.decode(&ids), "ab 한\n가");
}

#[test]
fn special_tokens_are_cut_out_of_text_only_when_asked() {
    let tokenizer = bpe_file().load().unwrap();
    let text = "<|im_start|>ab[b]<|im_end|>";
    let parsed = EncodeOptions {
        add_special: false,
        parse_special: true,
    };
    assert_eq!(
        pieces(&tokenizer, text, parsed),
        "<|im_start|>|ab|[b]|<|im_end|>"
    );
    // User-defined tokens are always recognized. The vocabulary has no tokens for the
    // characters of `<|im_end|>`, so they are dropped.
    assert_eq!(pieces(&tokenizer, "ab[b]c<|im_end|>", PLAIN), "ab|[b]|c");
}

#[test]
fn longer_special_tokens_go_before_shorter_ones_to_their_left() {
    let tokens = [
        ("<a", USER),
        ("a><b>", USER),
        ("<", NORMAL),
        ("aa", USER),
        ("aaa", USER),
    ];
    let tokenizer = File::new("gpt2")
        .tokens(&tokens)
        .merges(&[])
        .load()
        .unwrap();
    assert_eq!(pieces(&tokenizer, "<a><b>", PLAIN), "<|a><b>");
    assert_eq!(pieces(&tokenizer, "<a>", PLAIN), "<a");
    assert_eq!(pieces(&tokenizer, "aaaaaaaa", PLAIN), "aaa|aaa|aa");
}

#[test]
fn phi3_control_tokens_take_the_space_after_them() {
    let tokens = [
        ("<|end|>", CONTROL),
        ("<s>", CONTROL),
        ("▁", NORMAL),
        ("a", NORMAL),
        ("Ġ", NORMAL),
    ];
    // The model is recognized by its architecture and vocabulary, not by `general.name`.
    let named = |model: &str, architecture: &str, name: &str| {
        let file = File::new(model).str("general.architecture", architecture);
        let file = file.str("general.name", name).tokens(&tokens);
        let file = file.str("tokenizer.ggml.pre", "gpt-2").merges(&[]);
        let file = file.bool("tokenizer.ggml.add_space_prefix", false);
        let file = file.scores(&[0.0; 5]);
        let text = EncodeOptions {
            add_special: false,
            parse_special: true,
        };
        pieces(&file.load().unwrap(), "<|end|>  a<s> a", text)
    };
    for name in ["Phi-3 mini", "My model"] {
        assert_eq!(named("llama", "phi3", name), "<|end|>|a|<s>|▁|a");
        assert_eq!(named("llama", "llama", name), "<|end|>|▁|▁|a|<s>|▁|a");
        // Phi-4.
        assert_eq!(named("gpt2", "phi3", name), "<|end|>|Ġ|Ġ|a|<s>|Ġ|a");
    }
}

#[test]
fn masks_of_some_models_take_the_space_before_them() {
    let pieces = |pre: &str| {
        let tokens = [("[MASK]", USER), ("Ġ", NORMAL), ("a", NORMAL)];
        let file = File::new("gpt2").tokens(&tokens).merges(&[]);
        let file = file.str("tokenizer.ggml.pre", pre);
        let file = file.str("general.name", "modern-bert base");
        pieces(&file.load().unwrap(), "a [MASK] a", PLAIN)
    };
    assert_eq!(pieces("modern-bert"), "a|[MASK]|Ġ|a");
    assert_eq!(pieces("gpt-2"), "a|Ġ|[MASK]|Ġ|a");
}

/// A byte-level vocabulary of all bytes, with a control token, split as `pre` says.
fn byte_tokenizer(pre: &str) -> Tokenizer {
    let bytes: Vec<String> = (0u8..=255)
        .map(|byte| bpe::byte_to_char(byte).into())
        .collect();
    let mut tokens: Vec<(&str, i32)> = bytes.iter().map(|byte| (&byte[..], NORMAL)).collect();
    tokens.push(("<|im_end|>", CONTROL));
    let file = File::new("gpt2").tokens(&tokens).merges(&[]);
    file.str("tokenizer.ggml.pre", pre).load().unwrap()
}

#[test]
fn text_is_normalized_where_the_published_tokenizer_does_so() {
    use unicode_normalization::UnicodeNormalization;
    let texts = [
        "한국어",
        "café",
        "각 값을 읽는다",
        "ﬁ ① Å",
        "q\u{307}\u{323}",
    ];
    for pre in normalizer::NFC.iter().copied() {
        let tokenizer = byte_tokenizer(pre);
        for text in texts {
            let decomposed: String = text.nfd().collect();
            let ids = tokenizer.encode(&decomposed, PLAIN);
            let composed: String = text.nfc().collect();
            assert_eq!(tokenizer.decode(&ids), composed, "{pre}");
        }
        assert_eq!(
            tokenizer
                .encode(&"한국어".nfd().collect::<String>(), PLAIN)
                .len(),
            9
        );
    }
    let decomposed: String = "한국어".nfd().collect();
    let llama3 = byte_tokenizer("llama-bpe");
    assert_eq!(
        llama3.decode(&llama3.encode(&decomposed, PLAIN)),
        decomposed
    );
}

#[test]
fn special_tokens_are_cut_out_before_text_is_normalized() {
    let tokenizer = byte_tokenizer("qwen2");
    // The accent after the special token begins a piece, so it is not joined with an `e`.
    let ids = tokenizer.encode("e<|im_end|>\u{301}e\u{301}", ALL);
    assert_eq!(ids[1], 256);
    assert_eq!(tokenizer.decode(&ids), "e\u{301}é");
}

#[test]
fn a_megabyte_of_accents_is_normalized_quickly() {
    let tokenizer = byte_tokenizer("qwen2");
    let ids = tokenizer.encode(&"\u{323}\u{301}".repeat(1 << 18), PLAIN);
    assert_eq!(ids.len(), 1 << 20);
}

#[test]
fn normalizers_of_other_sentencepiece_models_are_refused() {
    let file = spm_file();
    let key = "tokenizer.ggml.remove_extra_whitespaces";
    assert!(file.clone().bool(key, false).load().is_ok());
    let error = file.bool(key, true).load().unwrap_err();
    assert!(matches!(error, Error::BadValue { key: found, .. } if found == key));
}

#[test]
fn bos_and_eos_are_added_as_the_file_says() {
    let file = bpe_file();
    assert_eq!(pieces(&file.load().unwrap(), "a", ALL), "a");
    let both = file
        .bool("tokenizer.ggml.add_bos_token", true)
        .bool("tokenizer.ggml.add_eos_token", true);
    let both = both.load().unwrap();
    assert_eq!(pieces(&both, "a", ALL), "<|im_start|>|a|<|endoftext|>");
    assert_eq!(pieces(&both, "a", PLAIN), "a");
    assert_eq!(pieces(&spm_file().load().unwrap(), "", ALL), "<s>");
}

#[test]
fn ends_are_known_by_id_and_by_name() {
    let tokenizer = bpe_file().load().unwrap();
    assert_eq!(
        (tokenizer.bos(), tokenizer.eos(), tokenizer.eot()),
        (Some(1), Some(0), Some(2))
    );
    assert!(tokenizer.is_end_of_generation(0) && tokenizer.is_end_of_generation(2));
    assert!(!tokenizer.is_end_of_generation(1));
    // The file marks this token as normal.
    assert_eq!(tokenizer.token_kind(2), Some(TokenKind::Control));
    let html = File::new("gpt2")
        .tokens(&[("</s>", USER)])
        .merges(&[])
        .load()
        .unwrap();
    assert!(!html.is_end_of_generation(0));
    let control = File::new("gpt2")
        .tokens(&[("</s>", CONTROL)])
        .merges(&[])
        .load()
        .unwrap();
    assert!(control.is_end_of_generation(0));
}

#[test]
fn spm_merges_by_score_and_falls_back_to_bytes() {
    let tokenizer = spm_file().load().unwrap();
    // "ab" scores best, so it is made before "▁a" and "aa".
    assert_eq!(pieces(&tokenizer, "ab", PLAIN), "▁ab");
    assert_eq!(pieces(&tokenizer, "aab", PLAIN), "▁a|ab");
    assert_eq!(pieces(&tokenizer, "ba", PLAIN), "▁|b|a");
    assert_eq!(
        pieces(&tokenizer, "a 가", PLAIN),
        "▁a|▁|<0xEA>|<0xB0>|<0x80>"
    );
    // A byte without a token becomes the unknown token.
    assert_eq!(pieces(&tokenizer, "az", PLAIN), "▁a|<unk>");
}

#[test]
fn spm_begins_text_and_what_follows_a_token_as_after_a_space() {
    let parsed = EncodeOptions {
        add_special: false,
        parse_special: true,
    };
    let tokenizer = spm_file().load().unwrap();
    assert_eq!(pieces(&tokenizer, "a</s>a", parsed), "▁a|</s>|▁a");
    assert_eq!(tokenizer.decode(&tokenizer.encode(" a b", PLAIN)), " a b");
    let bare = spm_file()
        .bool("tokenizer.ggml.add_space_prefix", false)
        .load()
        .unwrap();
    assert_eq!(pieces(&bare, "a</s>a", parsed), "a|</s>|a");
    assert_eq!(pieces(&bare, "a  a", PLAIN), "a|  |a");
    assert_eq!(bare.decode(&bare.encode(" a", PLAIN)), " a");
}

#[test]
fn wordpiece_cuts_words_into_the_longest_pieces() {
    let tokenizer = bert_file().load().unwrap();
    assert_eq!(
        pieces(&tokenizer, "PLAYing, playX", ALL),
        "[CLS]|▁play|ing|▁,|[UNK]|[SEP]"
    );
    assert_eq!(
        pieces(&tokenizer, "Café\u{200d}中中~", PLAIN),
        "▁cafe|▁中|▁中|▁~"
    );
    assert_eq!(
        tokenizer.decode(&tokenizer.encode("playing ,", PLAIN)),
        "playing ,"
    );
    let cased = bert_file()
        .bool("tokenizer.ggml.normalizer.lowercase", false)
        .load()
        .unwrap();
    assert_eq!(pieces(&cased, "Play café play", PLAIN), "[UNK]|[UNK]|▁play");
}

#[test]
fn characters_come_out_of_the_stream_whole() {
    let tokenizer = bpe_file().load().unwrap();
    let id = |piece: &str| tokenizer.id_of(piece).unwrap();
    let ids = ["a", "ê", "°", "Ģ", "b", "ê°"].map(id);
    // The last one stays incomplete.
    assert_eq!(stream(&tokenizer, &ids), ["a", "", "", "가", "b", "", ""]);
    // A character whose last bytes do not come is replaced by U+FFFD with the next token.
    assert_eq!(
        stream(&tokenizer, &["ê", "a"].map(id)),
        ["", "\u{fffd}a", ""]
    );
    // A byte that no character begins with is replaced at once, even at the end.
    assert_eq!(
        stream(&tokenizer, &["a", "°"].map(id)),
        ["a", "\u{fffd}", ""]
    );
    assert_eq!(
        stream(&tokenizer, &["<|im_start|>", "a"].map(id)),
        ["", "a", ""]
    );
    assert_eq!(stream(&tokenizer, &[u32::MAX]), ["", ""]);
}

#[test]
fn joined_emoji_come_out_of_the_stream_whole() {
    let pieces = ["👩\u{200d}", "👩🏽\u{200d}", "👧", "x👩", "\u{200d}"];
    let tokens = pieces.map(|piece| (piece, USER));
    let tokenizer = File::new("gpt2")
        .tokens(&tokens)
        .merges(&[])
        .load()
        .unwrap();
    assert_eq!(
        stream(&tokenizer, &[0, 1, 2]),
        ["", "", "👩\u{200d}👩🏽\u{200d}👧", ""]
    );
    assert_eq!(
        stream(&tokenizer, &[3, 4, 2]),
        ["x👩", "", "\u{200d}👧", ""]
    );
    assert_eq!(stream(&tokenizer, &[0]), ["", "👩\u{200d}"]);
    // A sequence that does not end is not held back for ever.
    assert!(
        stream(&tokenizer, &[0; 20])
            .iter()
            .take(10)
            .any(|text| !text.is_empty())
    );
}

#[test]
fn the_space_that_spm_put_first_is_not_given_back() {
    let tokenizer = spm_file().load().unwrap();
    let ids = tokenizer.encode("a b", ALL);
    assert_eq!(stream(&tokenizer, &ids).concat(), "a b");
    assert_eq!(tokenizer.decode(&ids), "a b");
}

#[test]
fn a_text_that_goes_on_keeps_its_first_space() {
    let tokenizer = spm_file().load().unwrap();
    let prompt = tokenizer.encode("a", ALL);
    let rest = tokenizer.encode("b", PLAIN);
    let decoded = |before: &[u32]| {
        let mut text = String::new();
        let mut decoder = StreamDecoder::after(&tokenizer, before);
        rest.iter()
            .for_each(|&id| decoder.push(&tokenizer, id, &mut text));
        decoder.finish(&mut text);
        text
    };
    assert_eq!(decoded(&prompt), " b");
    assert_eq!(decoded(&prompt[..1]), "b");
    assert_eq!(decoded(&[]), "b");
}

#[test]
fn a_megabyte_of_one_character_is_encoded_quickly() {
    let text = "a".repeat(1 << 20);
    for file in [bpe_file(), spm_file(), bert_file()] {
        let tokenizer = file.load().unwrap();
        assert!(!tokenizer.encode(&text, ALL).is_empty());
    }
    let newlines = [("\n", USER), ("\n\n", USER), ("\n\n\n", USER)];
    let tokenizer = File::new("gpt2")
        .tokens(&newlines)
        .merges(&[])
        .load()
        .unwrap();
    let ids = tokenizer.encode(&"\n".repeat(1 << 20), PLAIN);
    assert_eq!(ids.len(), (1 << 20) / 3 + 1);
}

#[test]
fn what_is_wrong_with_a_vocabulary_is_said() {
    let tokens = [("a", NORMAL), ("b", NORMAL)];
    let bare = || File::new("gpt2").tokens(&tokens);
    let cases = [
        (
            File::default().tokens(&tokens),
            "metadata key `tokenizer.ggml.model` is missing",
        ),
        (
            File::new("gpt2"),
            "metadata key `tokenizer.ggml.tokens` is missing",
        ),
        (bare(), "metadata key `tokenizer.ggml.merges` is missing"),
        (
            File::new("fnet").tokens(&tokens),
            "unknown tokenizer `fnet`",
        ),
        (
            bare().merges(&[]).str("tokenizer.ggml.pre", "viking"),
            "unknown pre-tokenizer `viking`",
        ),
        (bare().merges(&["a b", "ab"]), "element 1 is not two parts"),
        (
            bare().merges(&[]).str("tokenizer.ggml.eos_token_id", "b"),
            "`tokenizer.ggml.eos_token_id`: expected an integer",
        ),
        (
            bare().str("tokenizer.ggml.merges", "a b"),
            "tokenizer.ggml.merges",
        ),
        (
            File::new("llama").tokens(&tokens),
            "metadata key `tokenizer.ggml.scores` is missing",
        ),
        (
            File::new("llama").tokens(&tokens).scores(&[0.0]),
            "1 elements for 2 tokens",
        ),
        (
            File::new("gpt2").tokens(&[("a", 9)]),
            "element 0 has an invalid value",
        ),
        (File::new("gpt2").tokens(&[]), "not a list of pieces"),
        (
            File::new("gpt2")
                .scores(&[])
                .u32("tokenizer.ggml.tokens", 1),
            "tokenizer.ggml.tokens",
        ),
    ];
    for (file, expected) in cases {
        let error = std::format!("{}", file.load().unwrap_err());
        assert!(
            error.contains(expected),
            "{error:?} does not say {expected:?}"
        );
    }
}

#[test]
fn what_is_plain_is_repaired_and_told() {
    let tokens = [("a", NORMAL), ("<|im_end|>", NORMAL)];
    let told = |file: File| {
        let tokenizer = file.merges(&[]).load().unwrap();
        assert_eq!(pieces(&tokenizer, "a", ALL), "a");
        assert!(tokenizer.is_end_of_generation(1));
        tokenizer.warnings().to_vec()
    };
    let bare = || File::new("gpt2").tokens(&[tokens[0], ("<|im_end|>", CONTROL)]);
    let named = || bare().str("tokenizer.ggml.pre", "gpt-2");
    let past = |key, id| Warning::NoSuchToken { key, id, tokens: 2 };
    assert_eq!(told(named()), []);
    assert_eq!(
        told(bare()),
        [Warning::NoPreTokenizer { key: PRE_TOKENIZER }]
    );
    let none = i64::from(u32::MAX);
    assert_eq!(
        told(named().u32(BOS, 2).u32(EOT, u32::MAX)),
        [past(BOS, 2), past(EOT, none)]
    );
    assert_eq!(
        told(named().bool(ADD_BOS, true).bool(ADD_EOS, true)),
        [(ADD_BOS, BOS), (ADD_EOS, EOS)]
            .map(|(key, token_key)| Warning::NothingToAdd { key, token_key })
    );
    let text = File::new("gpt2").tokens(&tokens);
    let piece = "<|im_end|>".into();
    assert_eq!(
        told(text.str("tokenizer.ggml.pre", "gpt-2")),
        [Warning::EndIsText { piece }]
    );
}

/// If a mark of a chat stayed text, it would be encoded as several pieces.
#[test]
fn marks_of_a_known_family_are_control_tokens() {
    let families: [&[&str]; 6] = [
        &["<|im_end|>", "<|im_start|>"],
        &["<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
        &["<end_of_turn>", "<start_of_turn>"],
        &["[|endofturn|]", "[|system|]", "[|user|]", "[|assistant|]"],
        &["<|end|>", "<|user|>", "<|assistant|>"],
        &["</s>", "[INST]", "[/INST]"],
    ];
    for family in families {
        for end in [NORMAL, CONTROL] {
            let kind = |at: usize| if at == 0 { end } else { NORMAL };
            let tokens = family.iter().enumerate();
            let tokens: Vec<_> = tokens.map(|(at, &piece)| (piece, kind(at))).collect();
            let file = File::new("gpt2").tokens(&tokens).merges(&[]);
            let tokenizer = file.str("tokenizer.ggml.pre", "gpt-2").load().unwrap();
            for (&mark, id) in family[1..].iter().zip(1..) {
                assert_eq!(tokenizer.encode(mark, ALL), [id], "{mark}");
                assert_eq!(tokenizer.token_kind(id), Some(TokenKind::Control));
                let piece = mark.into();
                assert!(
                    tokenizer
                        .warnings()
                        .contains(&Warning::MarkIsText { piece })
                );
            }
        }
    }
    // A mark of another kind than normal stays as it is, and so does a mark of a family whose
    // end is not in the vocabulary.
    let tokens = [
        ("<|im_end|>", CONTROL),
        ("<|im_start|>", USER),
        ("[INST]", NORMAL),
    ];
    let file = File::new("gpt2").tokens(&tokens).merges(&[]);
    let tokenizer = file.str("tokenizer.ggml.pre", "gpt-2").load().unwrap();
    assert_eq!(tokenizer.token_kind(1), Some(TokenKind::UserDefined));
    assert_eq!(tokenizer.token_kind(2), Some(TokenKind::Normal));
    assert_eq!(tokenizer.warnings(), []);
}

#[test]
fn strange_vocabularies_do_no_harm() {
    let tokens = [
        ("", CONTROL),
        ("", NORMAL),
        ("a", NORMAL),
        ("a", CONTROL),
        ("<0xZZ>", BYTE),
    ];
    let merges = ["a a", "a a", "aa aa", "nowhere to be found", "aa a"];
    let bpe = File::new("gpt2")
        .tokens(&tokens)
        .merges(&merges)
        .load()
        .unwrap();
    assert_eq!(bpe.encode("aaaaa", PLAIN), [2; 5]);
    assert_eq!(bpe.decode(&[0, 1, 2, 3, 4, 5]), "a");
    let scores = [f32::NAN, f32::INFINITY, -0.0, f32::NEG_INFINITY, 1.0];
    let spm = File::new("llama")
        .tokens(&tokens)
        .scores(&scores)
        .load()
        .unwrap();
    assert_eq!(spm.decode(&spm.encode("aaa", PLAIN)), "aaa");
    let bert = File::new("bert").tokens(&tokens).load().unwrap();
    assert!(bert.encode("abc abc", PLAIN).is_empty());
    let rwkv = File::new("rwkv").tokens(&tokens).load().unwrap();
    assert_eq!(rwkv.encode("aba", PLAIN), [2, 2]);
    assert_eq!(rwkv.decode(&[0, 1, 2, 3, 4, 5]), "a");
}

/// Any vocabulary over pieces of the kinds that matter, and text of the same.
fn any_piece() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a", "b", "ab", " ", "▁", "Ġ", "ê", "°", "가", "\u{200d}", "👩", "🏽", "<0xEA>", "<0xB0>",
        "<0x80>", "<0xFF>", "\n", "e\u{301}",
    ]);
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn streams_give_what_decoding_gives(
        model in prop::sample::select(vec!["gpt2", "llama", "t5", "bert", "rwkv"]),
        tokens in prop::collection::vec((any_piece(), 1..=6_i32), 1..40),
        scores in prop::collection::vec(any::<f32>(), 40),
        merges in prop::collection::vec((any_piece(), any_piece()), 0..20),
        ids in prop::collection::vec(0..45_u32, 0..30),
        texts in prop::collection::vec(any_piece(), 0..8),
        options in any::<(bool, bool)>(),
    ) {
        let merges: Vec<String> = merges
            .iter()
            .filter(|(left, right)| !left.is_empty() && !right.is_empty())
            .map(|(left, right)| std::format!("{left} {right}"))
            .collect();
        let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
        let tokens: Vec<(&str, i32)> = tokens.iter().map(|(p, kind)| (p.as_str(), *kind)).collect();
        let file = File::new(model).tokens(&tokens).scores(&scores[..tokens.len()]).merges(&merges);
        let tokenizer = file.load().unwrap();
        prop_assert_eq!(stream(&tokenizer, &ids).concat(), complete(&tokenizer, &ids));

        let options = EncodeOptions { add_special: options.0, parse_special: options.1 };
        let ids = tokenizer.encode(&texts.concat(), options);
        prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        prop_assert_eq!(stream(&tokenizer, &ids).concat(), complete(&tokenizer, &ids));
    }
}

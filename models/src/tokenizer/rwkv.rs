//! RWKV's "World" tokenizer: from left to right, the longest token that the rest of the text
//! begins with. Tokens are bytes, and need not be whole characters.
//!
//! From `rwkv_tokenizer.py` and `rwkv_vocab_v20230424.txt` of the package `rwkv` 0.8.32
//! (PyPI). Where no token fits, that code stops with an error; here, as in llama.cpp, the
//! byte becomes the unknown token. Without one it is left out. Of several equal tokens
//! the last one counts, as there.

use alloc::vec::Vec;

use super::prefixes::Prefixes;
use super::vocab::Vocab;
use crate::Result;

/// The tokens of text, and the one for bytes without a token.
#[derive(Debug, Clone)]
pub(super) struct Rwkv {
    tokens: Prefixes,
    unknown: Option<u32>,
}

impl Rwkv {
    /// Sorts the tokens of a vocabulary whose pieces were read by [`unescape`].
    ///
    /// # Errors
    /// Those of [`Prefixes::of_text`].
    pub(super) fn new(vocab: &Vocab, unknown: Option<u32>) -> Result<Rwkv> {
        let tokens = Prefixes::of_text(vocab)?;
        Ok(Rwkv { tokens, unknown })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, ids: &mut Vec<u32>) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let longest = self.tokens.of(vocab, rest).last();
            let (length, id) = match longest {
                Some((length, tokens)) => (length, tokens.last().copied()),
                None => (1, self.unknown),
            };
            ids.extend(id);
            rest = &rest[length..];
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.tokens.heap_bytes()
    }
}

/// Appends the bytes that a piece of a file stands for; `None` if it has an invalid escape.
///
/// Files spell a token as Python's `repr` spells bytes, without the quotation marks, since
/// strings of GGUF are UTF-8: `\xea\xb0\x80`, `\n`, `it\'s "`. This is what llama.cpp's
/// `convert_hf_to_gguf.py` writes, in `_set_vocab_rwkv_world`.
pub(super) fn unescape(piece: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    let mut rest = piece;
    while let Some((&first, tail)) = rest.split_first() {
        let byte;
        (byte, rest) = match first {
            b'\\' => escaped(tail)?,
            _ => (first, tail),
        };
        bytes.push(byte);
    }
    Some(())
}

/// The byte that an escape stands for, from the text after its backslash, and what follows
/// the escape.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&letter, rest) = text.split_first()?;
    match letter {
        b'n' => Some((b'\n', rest)),
        b'r' => Some((b'\r', rest)),
        b't' => Some((b'\t', rest)),
        b'\\' | b'\'' | b'"' => Some((letter, rest)),
        b'x' => {
            let (digits, rest) = rest.split_first_chunk::<2>()?;
            let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
            Some(((high? << 4 | low?) as u8, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tests::{ALL, BYTE, CONTROL, File, NORMAL, PLAIN, USER, pieces, stream};
    use crate::tokenizer::{EncodeOptions, Tokenizer};
    use alloc::string::String;
    use alloc::{format, vec};
    use proptest::prelude::*;

    /// A piece as files spell it.
    fn escape(bytes: &[u8]) -> String {
        let escape = |&byte: &u8| match byte {
            b'\n' => "\\n".into(),
            b'\\' => "\\\\".into(),
            b' '..=b'~' => char::from(byte).into(),
            _ => format!("\\x{byte:02x}"),
        };
        bytes.iter().map(escape).collect::<Vec<String>>().concat()
    }

    fn file(tokens: &[(&[u8], i32)]) -> File {
        let tokens: Vec<(String, i32)> = tokens
            .iter()
            .map(|&(bytes, kind)| (escape(bytes), kind))
            .collect();
        let tokens: Vec<(&str, i32)> = tokens
            .iter()
            .map(|(piece, kind)| (piece.as_str(), *kind))
            .collect();
        File::new("rwkv").tokens(&tokens)
    }

    fn load(tokens: &[(&[u8], i32)]) -> Tokenizer {
        file(tokens).load().unwrap()
    }

    fn bytes(piece: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        unescape(piece, &mut bytes).map(|()| bytes)
    }

    #[test]
    fn escapes_are_those_of_pythons_bytes() {
        let cases: &[(&str, &[u8])] = &[
            ("", b""),
            ("abc", b"abc"),
            (r"\n\r\t", b"\n\r\t"),
            (r"\\n", b"\\n"),
            (r#"it\'s \"5\""#, b"it's \"5\""),
            (r"\x00\xff\xEA\xb0\x80", b"\x00\xff\xea\xb0\x80"),
            (r"\x0an", b"\nn"),
            ("가\\n", "가\n".as_bytes()),
        ];
        for (piece, expected) in cases {
            assert_eq!(
                bytes(piece.as_bytes()).as_deref(),
                Some(*expected),
                "{piece}"
            );
        }
    }

    #[test]
    fn other_escapes_are_refused() {
        let wrong: &[&[u8]] = &[
            b"\\", b"a\\", b"\\x", b"\\x4", b"\\x4g", b"\\x+4", b"\\xg4", b"\\u00e9", b"\\0",
            b"\\a", b"\\N", b"\\\xea", b"\\\\\\",
        ];
        for piece in wrong {
            assert_eq!(bytes(piece), None, "{piece:?}");
        }
    }

    #[test]
    fn a_file_with_a_wrong_escape_is_refused() {
        let tokens = [("a", NORMAL), ("\\q", NORMAL)];
        let error = File::new("rwkv").tokens(&tokens).load().unwrap_err();
        let expected = "tokenizer: invalid escape in the tokens, at number 1";
        assert_eq!(format!("{error}"), expected);
        // Other tokenizers have no escapes.
        assert!(File::new("bert").tokens(&tokens).load().is_ok());
    }

    #[test]
    fn the_longest_token_is_taken() {
        let tokenizer = load(&[
            (b"<s>", CONTROL),
            (b"a", NORMAL),
            (b"ab", NORMAL),
            (b"abcd", NORMAL),
            (b"c", NORMAL),
            (b"\n\n", NORMAL),
            (b"\\", NORMAL),
            (b"ab", NORMAL),
        ]);
        // Of the two equal tokens the last one; `c` after `ab`, since there is no `abc`.
        assert_eq!(tokenizer.encode("abcabcda", PLAIN), [7, 4, 3, 1]);
        assert_eq!(tokenizer.encode("\n\n\\", ALL), [5, 6]);
        assert_eq!(tokenizer.decode(&[0, 5, 6, 1]), "\n\n\\a");
        assert_eq!(tokenizer.token_bytes(5), Some(&b"\n\n"[..]));
    }

    #[test]
    fn tokens_need_not_be_whole_characters() {
        // 가 is EA B0 80, 각 is EA B0 81.
        let tokenizer = load(&[
            (b"\xea\xb0", NORMAL),
            (b"\x80\xea", NORMAL),
            (b"\xb0", NORMAL),
            (b"\x80", NORMAL),
            (b"\x81", NORMAL),
        ]);
        let ids = tokenizer.encode("가각", PLAIN);
        assert_eq!(ids, [0, 1, 2, 4]);
        assert_eq!(tokenizer.decode(&ids), "가각");
        assert_eq!(stream(&tokenizer, &ids), ["", "가", "", "각", ""]);
    }

    #[test]
    fn a_byte_without_a_token_is_unknown() {
        let tokens: [(&[u8], i32); 3] = [(b"<s>", CONTROL), (b"a", NORMAL), (b"bc", NORMAL)];
        // `b` begins a token, but is none.
        assert_eq!(load(&tokens).encode("ab가abc", PLAIN), [1, 1, 2]);
        let unknown = file(&tokens).u32("tokenizer.ggml.unknown_token_id", 0);
        let tokenizer = unknown.load().unwrap();
        assert_eq!(tokenizer.encode("ab가abc", PLAIN), [1, 0, 0, 0, 0, 1, 2]);
        assert_eq!(tokenizer.decode(&[1, 0, 2]), "abc");
    }

    /// The converter fills vocabularies with unused tokens, and writes `<s>` as token 0.
    #[test]
    fn text_becomes_text_only() {
        let tokenizer = load(&[
            (b"<s>", CONTROL),
            (b"<", NORMAL),
            (b"s", NORMAL),
            (b">", NORMAL),
            (b"[PAD4]", 5),
            (b"<s", BYTE),
            (b"<|im_end|>", NORMAL),
            (b"s>", USER),
        ]);
        assert_eq!(pieces(&tokenizer, "<s>", PLAIN), "<|s>");
        assert_eq!(pieces(&tokenizer, "<s>", ALL), "<s>");
        assert!(tokenizer.encode("[PAD4]", ALL).is_empty());
        // A piece that ends a turn is a control token even if the file says otherwise.
        assert_eq!(pieces(&tokenizer, "<|im_end|>", PLAIN), "<|>");
        assert_eq!(tokenizer.encode("<|im_end|>", ALL), [6]);
    }

    #[test]
    fn nothing_is_added_unless_the_file_asks() {
        let tokens: [(&[u8], i32); 2] = [(b"<s>", CONTROL), (b"a", NORMAL)];
        let named = || file(&tokens).u32("tokenizer.ggml.bos_token_id", 0);
        assert_eq!(named().load().unwrap().encode("a", ALL), [1]);
        let asks = named().bool("tokenizer.ggml.add_bos_token", true);
        assert_eq!(asks.load().unwrap().encode("a", ALL), [0, 1]);
    }

    #[test]
    fn a_token_of_a_megabyte_is_refused() {
        let long = vec![b'a'; 1 << 20];
        let error = file(&[(b"a", NORMAL), (&long, NORMAL)]).load().unwrap_err();
        let expected = "tokenizer: token 1 has 1048576 bytes; the longest may have 1024";
        assert_eq!(format!("{error}"), expected);
        // Text does not become a control token, however long it is.
        assert_eq!(
            load(&[(b"a", NORMAL), (&long, CONTROL)]).encode("aa", PLAIN),
            [0, 0]
        );
        let longest = load(&[(b"a", NORMAL), (&long[..1024], NORMAL)]);
        let text = "a".repeat(1024 + 1023);
        assert_eq!(longest.encode(&text, PLAIN).len(), 1024);
    }

    #[test]
    fn a_megabyte_of_text_is_encoded_quickly() {
        let tokenizer = load(&[(b"a", NORMAL), (b"aaa", NORMAL), (b"aaaaaaab", NORMAL)]);
        let ids = tokenizer.encode(&"a".repeat(1 << 20), PLAIN);
        assert_eq!(ids.len(), (1 << 20) / 3 + 1);
    }

    /// The definition: all tokens are compared at each place.
    fn slow(tokens: &[(Vec<u8>, i32)], text: &[u8]) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let numbered = (0..).zip(tokens);
            let fits = numbered.filter(|(_, (piece, kind))| {
                *kind == NORMAL && !piece.is_empty() && rest.starts_with(piece)
            });
            let longest = fits.max_by_key(|(id, (piece, _))| (piece.len(), *id));
            ids.extend(longest.map(|(id, _)| id));
            rest = &rest[longest.map_or(1, |(_, (piece, _))| piece.len())..];
        }
        ids
    }

    /// Bytes of texts: parts of a few characters, so that tokens overlap in many ways.
    fn any_bytes(parts: core::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        let part: Vec<&[u8]> = vec![
            b"a",
            b"b",
            b"\\",
            b"\n",
            b"\r\n",
            b" ",
            b"  ",
            b"\0",
            b"\xea",
            b"\xb0",
            b"\x80",
            b"\xea\xb0",
            "가".as_bytes(),
            "각".as_bytes(),
            "👩".as_bytes(),
            b"\xf0\x9f",
            b"\x91",
        ];
        prop::collection::vec(prop::sample::select(part), parts).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn ids_are_those_of_the_definition(
            tokens in prop::collection::vec((any_bytes(0..4), prop::sample::select(vec![NORMAL, NORMAL, NORMAL, CONTROL, 5])), 1..40),
            text in any_bytes(0..40),
        ) {
            let text = String::from_utf8_lossy(&text);
            let pieces: Vec<(&[u8], i32)> = tokens.iter().map(|(piece, kind)| (&piece[..], *kind)).collect();
            let options = EncodeOptions { add_special: true, parse_special: false };
            let ids = load(&pieces).encode(&text, options);
            prop_assert_eq!(ids, slow(&tokens, text.as_bytes()));
        }

        #[test]
        fn unescaping_undoes_escaping(text in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(bytes(escape(&text).as_bytes()), Some(text));
        }

        #[test]
        fn no_piece_makes_unescaping_panic_or_longer(piece in prop::collection::vec(prop::sample::select(&b"\\\\xnN09afAFg'\"\xea"[..]), 0..20)) {
            let shorter = bytes(&piece).is_none_or(|bytes| bytes.len() <= piece.len());
            prop_assert!(shorter);
        }
    }
}

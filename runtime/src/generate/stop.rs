//! Stop strings in a stream of text.

use alloc::string::String;
use alloc::vec::Vec;

/// Passes text on up to the first stop string.
///
/// Text that may be the start of a stop string is held back until this is decided, so
/// that no part of a stop string is ever passed on. If several match, the one that
/// starts first ends the text.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopMatcher {
    /// A matcher for these strings. Empty ones are ignored, since they would match
    /// everywhere.
    pub fn new(stops: &[String]) -> StopMatcher {
        let stops = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        StopMatcher {
            stops,
            held: String::new(),
            stopped: false,
        }
    }

    /// Takes more text and appends to `out` what can be passed on; true once a stop
    /// string was found. Text after that is dropped.
    pub fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.stopped {
            return true;
        }
        self.held.push_str(text);
        let first = self.first();
        // A longer stop string may start before the one that was found.
        let undecided = self.undecided();
        match first {
            Some(at) if at <= undecided => {
                out.push_str(&self.held[..at]);
                self.held.clear();
                self.stopped = true;
            }
            _ => {
                out.push_str(&self.held[..undecided]);
                self.held.drain(..undecided);
            }
        }
        self.stopped
    }

    /// Ends the text: appends what was held back, up to a complete stop string in it.
    pub fn finish(&mut self, out: &mut String) {
        let first = self.first();
        out.push_str(&self.held[..first.unwrap_or(self.held.len())]);
        self.stopped |= first.is_some();
        self.held.clear();
    }

    /// Where the first stop string starts, if there is one. Compares at every place:
    /// the text is short, and `str::find` takes a kilobyte of code in firmware.
    fn first(&self) -> Option<usize> {
        let held = self.held.as_bytes();
        (0..held.len()).find(|&at| {
            let mut stops = self.stops.iter();
            stops.any(|stop| held[at..].starts_with(stop.as_bytes()))
        })
    }

    /// Where the longest suffix of the held text starts that is a prefix of a stop
    /// string; the text's length if there is none.
    fn undecided(&self) -> usize {
        let starts = self.held.char_indices().map(|(at, _)| at);
        let begins = |at: &usize| {
            let rest = &self.held[*at..];
            self.stops
                .iter()
                .any(|stop| stop.len() > rest.len() && stop.starts_with(rest))
        };
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = (self.held.len() + 1).saturating_sub(longest);
        starts
            .filter(|&at| at >= from)
            .find(begins)
            .unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    /// The text before the first stop string, found in the whole text.
    fn naive(text: &str, stops: &[String]) -> String {
        let first = stops
            .iter()
            .filter(|s| !s.is_empty())
            .filter_map(|s| text.find(s.as_str()))
            .min();
        text[..first.unwrap_or(text.len())].to_string()
    }

    fn streamed(pieces: &[String], stops: &[String]) -> String {
        let mut matcher = StopMatcher::new(stops);
        let mut out = String::new();
        for piece in pieces {
            if matcher.push(piece, &mut out) {
                return out;
            }
        }
        matcher.finish(&mut out);
        out
    }

    #[test]
    fn a_stop_string_across_pieces_is_never_seen() {
        let pieces = ["가나", "다<", "|en", "d|>라"].map(String::from);
        assert_eq!(streamed(&pieces, &["<|end|>".into()]), "가나다");
        assert_eq!(streamed(&pieces, &["<|other|>".into()]), "가나다<|end|>라");
        assert_eq!(streamed(&pieces, &[String::new()]), "가나다<|end|>라");
    }

    #[test]
    fn the_stop_that_starts_first_wins() {
        let pieces = ["ab", "cd", "e"].map(String::from);
        assert_eq!(streamed(&pieces, &["bcde".into(), "c".into()]), "a");
        assert_eq!(streamed(&pieces, &["bcdx".into(), "c".into()]), "ab");
    }

    proptest! {
        #[test]
        fn streaming_equals_searching_the_whole(
            pieces in prop::collection::vec("[ab가😀]{0,4}", 0..12),
            stops in prop::collection::vec("[ab가😀]{0,4}", 0..4),
        ) {
            prop_assert_eq!(streamed(&pieces, &stops), naive(&pieces.concat(), &stops));
        }
    }
}

//! Tokens of a tag.

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    Sign,
    /// After the last token.
    End,
}

/// A token in the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Line breaks between the token before and this one.
    pub(super) breaks: usize,
}

impl Token<'_> {
    /// Whether it is this name or sign.
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text && matches!(self.kind, Kind::Name | Kind::Sign)
    }
}

/// A tag with its delimiters.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    /// Ends with a token of the kind [`Kind::End`].
    pub(super) tokens: Vec<Token<'a>>,
    /// The delimiters with their signs for white space, such as `{%-`.
    pub(super) open: &'a str,
    pub(super) close: &'a str,
    pub(super) len: usize,
}

/// The tag at the start of `source`. Where it is not closed, `close` is empty.
pub(super) fn tag(source: &str) -> Tag<'_> {
    let close = if source.starts_with("{{") { "}}" } else { "%}" };
    let open = 2 + usize::from(source[2..].starts_with(['-', '+']));
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    let mut breaks = 0;
    let mut at = open;
    let mut end = source.len();
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        let closing = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        if depth == 0 && closing.starts_with(close) {
            end = source.len() - closing.len() + close.len();
            break;
        }
        if c.is_whitespace() {
            breaks += usize::from(c == '\n');
            at += c.len_utf8();
            continue;
        }
        let (kind, len) = match c {
            '"' | '\'' => (Kind::Text, text_len(rest, c)),
            c if c.is_ascii_digit() => (Kind::Number, number_len(rest)),
            c if is_name(c) => (Kind::Name, name_len(rest)),
            _ => (Kind::Sign, sign_len(rest)),
        };
        let text = &rest[..len];
        match text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        tokens.push(Token { kind, text, breaks });
        breaks = 0;
        at += len;
    }
    tokens.push(Token {
        kind: Kind::End,
        text: "the end of the tag",
        breaks,
    });
    Tag {
        tokens,
        open: &source[..open],
        close: &source[at.min(end)..end],
        len: end,
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn name_len(text: &str) -> usize {
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}

/// The length of a literal with its quotes.
fn text_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Digits, a fraction where a digit follows the dot, and an exponent.
fn number_len(text: &str) -> usize {
    let mut len = name_len(text);
    if let Some(fraction) = text[len..].strip_prefix('.')
        && fraction.starts_with(|c: char| c.is_ascii_digit())
        && text[..len].bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        len += 1 + name_len(fraction);
    }
    let decimal = !text.starts_with("0x") && !text.starts_with("0X");
    if decimal && text[..len].ends_with(['e', 'E']) {
        let exponent = &text[len..];
        if let Some(digits) = exponent.strip_prefix(['+', '-'])
            && digits.starts_with(|c: char| c.is_ascii_digit())
        {
            len += 1 + name_len(digits);
        }
    }
    len
}

fn sign_len(text: &str) -> usize {
    let two = ["==", "!=", "<=", ">=", "**", "//"];
    if two.iter().any(|sign| text.starts_with(sign)) {
        return 2;
    }
    text.chars().next().map_or(0, char::len_utf8)
}

//! Rewrites a template's source before minijinja compiles it. Lines stay where
//! they are, so that errors name the line of the file's own template.
//!
//! - minijinja pays for what an operation produces, not for the values that it
//!   walks on the way, and a few steps can build a list of lists whose text is
//!   petabytes, or a namespace that holds itself. So each value is passed through
//!   a filter (see `guard`) where an operator or a filter is about to walk it, and
//!   where it is assigned: `a ~ b` becomes `a|GUARD ~ b|GUARD`.
//! - `{% generation %}`, which marks the model's own words for training, becomes
//!   `{% if true %}`.
//! - Tags so long that compiling them would need an unbounded stack are refused.

use super::guard::{GUARD, GUARD_NUMBER, GUARD_STORED};
use crate::{Error, Result};

/// Longest source in bytes; templates in use have up to 30 thousand.
const MAX_SOURCE_BYTES: usize = 256 << 10;
/// Most tokens in one tag: the compiler recurses over chains such as `a + b + c`.
const MAX_TAG_TOKENS: usize = 2_000;
/// Most `elif` tags: the compiler recurses over them.
const MAX_ELIFS: usize = 500;

/// Operators that walk, copy or compare their operands.
const WALKING: [&str; 9] = ["~", "+", "==", "!=", "<", "<=", ">", ">=", "in"];
/// Names that are never the end of an operand.
const KEYWORDS: [&str; 8] = ["and", "or", "not", "if", "else", "is", "in", "recursive"];

/// The source with guards in place.
pub(super) fn rewrite(source: &str) -> Result<String> {
    if source.len() > MAX_SOURCE_BYTES {
        let reason = format!(
            "{} bytes of source, at most {MAX_SOURCE_BYTES} are allowed",
            source.len()
        );
        return Err(Error::Template { reason });
    }
    let mut out = String::with_capacity(source.len() * 2);
    let mut rest = source;
    let mut elifs = 0;
    while let Some(start) = next_tag(rest) {
        let (text, tag) = rest.split_at(start);
        out.push_str(text);
        if tag.starts_with("{#") {
            let end = tag.find("#}").map_or(tag.len(), |at| at + 2);
            out.push_str(&tag[..end]);
            rest = &tag[end..];
            continue;
        }
        let (tokens, end) = lex(tag);
        let too_long = tokens.len() > MAX_TAG_TOKENS;
        elifs += usize::from(tokens.first().is_some_and(|t| t.text == "elif"));
        if too_long || elifs > MAX_ELIFS {
            let line = 1 + source[..source.len() - tag.len()].matches('\n').count();
            let what = if too_long {
                "this tag is too long"
            } else {
                "too many `elif`"
            };
            return Err(Error::Template {
                reason: format!("line {line}: {what}"),
            });
        }
        rest = &tag[end..];
        match tokens.as_slice() {
            [Token { text: "raw", .. }] if tag.starts_with("{%") => {
                let raw_end = end_of_raw(rest);
                out.push_str(&tag[..end + raw_end]);
                rest = &rest[raw_end..];
            }
            _ => write_tag(&mut out, &tag[..end], &tokens),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the next tag or comment starts.
fn next_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes
        .windows(2)
        .position(|pair| matches!(pair, b"{{" | b"{%" | b"{#"))
}

/// Length of what a `{% raw %}` tag quotes; its end tag is not included.
fn end_of_raw(text: &str) -> usize {
    let is_end = |tag: &str| {
        let inner = tag[2..].trim_start_matches(['-', '+']).trim_start();
        inner.starts_with("endraw")
    };
    text.match_indices("{%")
        .map(|(at, _)| at)
        .find(|&at| is_end(&text[at..]))
        .unwrap_or(text.len())
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Name,
    /// A number or a string.
    Literal,
    Sign,
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
    /// Offset in the tag.
    start: usize,
}

impl Token<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    fn is(&self, text: &str) -> bool {
        self.text == text && self.kind != Kind::Literal
    }

    fn opens(&self) -> bool {
        matches!(self.text, "(" | "[" | "{")
    }

    fn closes(&self) -> bool {
        matches!(self.text, ")" | "]" | "}")
    }
}

/// Tokens of the tag at the start of `tag`, and its length with delimiters.
fn lex(tag: &str) -> (Vec<Token<'_>>, usize) {
    let close = if tag.starts_with("{{") { "}}" } else { "%}" };
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    let mut at = 2 + usize::from(tag[2..].starts_with(['-', '+']));
    while let Some(c) = tag[at..].chars().next() {
        let rest = &tag[at..];
        if depth == 0 {
            let trimmed = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            if trimmed.starts_with(close) {
                return (tokens, tag.len() - trimmed.len() + 2);
            }
        }
        let (kind, len) = match c {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '"' | '\'' => (Kind::Literal, string_len(rest, c)),
            c if c.is_ascii_digit() => (Kind::Literal, number_len(rest)),
            c if is_name(c) => (Kind::Name, rest.find(|c| !is_name(c)).unwrap_or(rest.len())),
            _ => (Kind::Sign, sign_len(rest)),
        };
        let token = Token {
            kind,
            text: &rest[..len],
            start: at,
        };
        if kind == Kind::Sign && token.opens() {
            depth += 1;
        } else if kind == Kind::Sign && token.closes() {
            depth = depth.saturating_sub(1);
        }
        tokens.push(token);
        at += len;
    }
    (tokens, tag.len())
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn string_len(text: &str, quote: char) -> usize {
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

/// Digits, and a fraction only where a digit follows the dot.
fn number_len(text: &str) -> usize {
    let digits = |text: &str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    let whole = digits(text);
    match text[whole..].strip_prefix('.') {
        Some(fraction) if fraction.starts_with(|c: char| c.is_ascii_digit()) => {
            whole + 1 + digits(fraction)
        }
        _ => whole,
    }
}

fn sign_len(text: &str) -> usize {
    let two = ["==", "!=", "<=", ">=", "**", "//"];
    if two.iter().any(|sign| text.starts_with(sign)) {
        return 2;
    }
    text.chars().next().map_or(0, char::len_utf8)
}

/// What is inserted into a tag: a byte offset and a text.
type Edit = (usize, String);

fn write_tag(out: &mut String, tag: &str, tokens: &[Token]) {
    let mut edits = Vec::new();
    let mut replaced = None;
    match tokens {
        [
            first @ Token {
                text: "generation", ..
            },
        ] if tag.starts_with("{%") => {
            replaced = Some((first, "if true"));
        }
        [
            first @ Token {
                text: "endgeneration",
                ..
            },
        ] if tag.starts_with("{%") => {
            replaced = Some((first, "endif"));
        }
        _ => edits = guards(tag, tokens),
    }
    if let Some((token, text)) = replaced {
        out.push_str(&tag[..token.start]);
        out.push_str(text);
        out.push_str(&tag[token.end()..]);
        return;
    }
    let mut from = 0;
    for (at, text) in edits {
        out.push_str(&tag[from..at]);
        out.push_str(&text);
        from = at;
    }
    out.push_str(&tag[from..]);
}

/// The guards of one tag, in order.
fn guards(tag: &str, tokens: &[Token]) -> Vec<Edit> {
    let statement = if tag.starts_with("{%") {
        tokens.first()
    } else {
        None
    };
    let Some(statement) = statement else {
        return operand_guards(tokens, Level::new(false));
    };
    match statement.text {
        // Names of parameters are no operands.
        "macro" => Vec::new(),
        "for" => {
            let expression = tokens
                .iter()
                .position(|t| t.is("in"))
                .map_or(tokens.len(), |at| at + 1);
            operand_guards(&tokens[expression..], Level::new(true))
        }
        "with" => operand_guards(&tokens[1..], Level::new(true)),
        "set" => assignment_guards(tokens),
        _ => operand_guards(&tokens[1..], Level::new(false)),
    }
}

/// `set x = value` becomes `set x = (value)|GUARD`, its operands guarded too.
fn assignment_guards(tokens: &[Token]) -> Vec<Edit> {
    // A block, whose text is set, has no `=` before its filters.
    let sign = tokens.iter().position(|t| t.is("=") || t.is("|"));
    let (Some(assign), Some(last)) = (sign.filter(|&at| tokens[at].is("=")), tokens.last()) else {
        return operand_guards(&tokens[1..], Level::new(false));
    };
    let to_attribute = tokens[1..assign].iter().any(|t| t.is("."));
    let guard = if to_attribute { GUARD_STORED } else { GUARD };
    let mut edits = vec![(tokens[assign].end(), "(".to_owned())];
    edits.extend(operand_guards(&tokens[assign + 1..], Level::new(false)));
    edits.push((last.end(), format!(")|{guard}")));
    edits
}

/// An open bracket, or the tag itself.
struct Level<'a> {
    /// The operator that waits for its right operand.
    operator: Option<&'a str>,
    /// Holds values that are bound to names, and so guarded like operands:
    /// arguments of a call, or what a `for` or `with` tag names.
    binds: bool,
}

impl Level<'_> {
    fn new(binds: bool) -> Self {
        Level {
            operator: binds.then_some(BIND),
            binds,
        }
    }
}

/// Stands for the operator before a value that is bound to a name.
const BIND: &str = "=";

/// A guard after each operand of a walking operator, after each value that is
/// bound to a name, and before each filter.
fn operand_guards<'a>(tokens: &[Token<'a>], tag: Level<'a>) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut levels = vec![tag];
    for index in 0..tokens.len() {
        let token = &tokens[index];
        let after_operand = index > 0 && ends_operand(tokens, index - 1);
        if token.kind == Kind::Sign && token.opens() {
            let after_test = index > 0 && names_a_test(tokens, index - 1);
            levels.push(Level::new(
                token.text == "(" && (after_operand || after_test),
            ));
            continue;
        }
        if token.kind == Kind::Sign && token.closes() && levels.len() > 1 {
            levels.pop();
        }
        let Some(level) = levels.last_mut() else {
            break;
        };
        if !ends_operand(tokens, index) {
            match token.text {
                // These may stand between an operator and the end of its operand.
                "-" | "not" | "." | "|" => {}
                "," | "=" => level.operator = level.binds.then_some(BIND),
                // `f(*arguments)` is no multiplication.
                "*" if !after_operand => level.operator = None,
                _ => level.operator = walking(token),
            }
            continue;
        }
        let next = tokens.get(index + 1);
        let is_next =
            |signs: &[&str]| next.is_some_and(|t| t.kind == Kind::Sign && signs.contains(&t.text));
        // A longer operand goes on, or this is the name of an argument.
        if is_next(&[".", "(", "[", "="]) {
            continue;
        }
        if is_next(&["|"]) {
            if token.kind != Kind::Literal {
                edits.push((token.end(), format!("|{GUARD}")));
            }
            continue;
        }
        let guard = match (level.operator.take(), next.and_then(walking)) {
            (Some("*"), _) | (_, Some("*")) => GUARD_NUMBER,
            (None, None) => continue,
            _ => GUARD,
        };
        if token.kind != Kind::Literal {
            edits.push((token.end(), format!("|{guard}")));
        }
    }
    edits
}

/// The operator that `token` is, where it walks or repeats its operands.
fn walking<'a>(token: &Token<'a>) -> Option<&'a str> {
    let walks = token.kind != Kind::Literal && (token.text == "*" || WALKING.contains(&token.text));
    walks.then_some(token.text)
}

/// Whether the token can be the last of an operand.
fn ends_operand(tokens: &[Token], index: usize) -> bool {
    let token = &tokens[index];
    match token.kind {
        Kind::Literal => true,
        Kind::Sign => token.closes(),
        Kind::Name => !KEYWORDS.contains(&token.text) && !names_a_test(tokens, index),
    }
}

/// Whether the token follows `is` or `is not`.
fn names_a_test(tokens: &[Token], index: usize) -> bool {
    let before = |n: usize| index.checked_sub(n).map(|at| &tokens[at]);
    let is = |token: Option<&Token>, text| token.is_some_and(|t| t.is(text));
    is(before(1), "is") || is(before(1), "not") && is(before(2), "is")
}

//! Values as Python sees them: names of types, `str`, `repr`, order and hashing.

use std::cmp::Ordering;
use std::fmt::Write as _;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use super::guard::{self, MAX_TEXT_BYTES, failure};
use super::objects::{Group, Method, Range};

/// Longest text that is made a list of characters, in bytes.
const MAX_CHARS: usize = 1 << 20;

/// The name of the value's type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq | ValueKind::Iterable if is_tuple(value) => "tuple",
        ValueKind::Seq | ValueKind::Iterable if value.downcast_object_ref::<Range>().is_some() => {
            "range"
        }
        ValueKind::Seq | ValueKind::Iterable => "list",
        ValueKind::Map if guard::is_namespace(value) => "namespace",
        ValueKind::Map if is_dict(value) => "dict",
        _ => "object",
    }
}

pub(super) fn is_tuple(value: &Value) -> bool {
    value.is_tuple() || value.downcast_object_ref::<Group>().is_some()
}

pub(super) fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

/// Whether it is a dict. The engine's own objects look like maps, too.
pub(super) fn is_dict(value: &Value) -> bool {
    value.kind() == ValueKind::Map && !guard::is_engines_own(value)
}

/// Whether Python can iterate over it; an undefined value of jinja2 has no items.
pub(super) fn is_iterable(value: &Value) -> bool {
    let leaf = matches!(
        value.kind(),
        ValueKind::String | ValueKind::Undefined | ValueKind::Bytes
    );
    leaf || is_sequence(value) || is_dict(value)
}

/// An integer or a boolean.
pub(super) fn integer(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

/// A number or a boolean as a float.
pub(super) fn float(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number if value.is_integer() => Some(i128::try_from(value.clone()).ok()? as f64),
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        _ => None,
    }
}

/// An integer as a value: an `i64` where it fits, else an `i128`.
pub(super) fn from_integer(number: i128) -> Value {
    match i64::try_from(number) {
        Ok(short) => Value::from(short),
        Err(_) => Value::from(number),
    }
}

/// The items of what Python iterates over.
pub(super) fn items(value: &Value) -> Result<Vec<Value>, Error> {
    if value.is_undefined() {
        return Ok(Vec::new());
    }
    if let Some(text) = value.as_str() {
        if text.len() > MAX_CHARS {
            return Err(failure("a text is too large to be taken apart"));
        }
        return Ok(text.chars().map(Value::from).collect());
    }
    if !is_iterable(value) {
        return Err(failure(format!("a {} can't be iterated", type_name(value))));
    }
    Ok(value.try_iter()?.collect())
}

/// The pairs of a dict.
pub(super) fn pairs(value: &Value) -> Vec<(Value, Value)> {
    let object = value.as_object().filter(|_| is_dict(value));
    let pairs = object.and_then(|object| object.try_iter_pairs());
    pairs.into_iter().flatten().collect()
}

/// Fails for what can't be a key.
pub(super) fn check_hashable(value: &Value) -> Result<(), Error> {
    if is_tuple(value) {
        return value.try_iter()?.try_for_each(|item| check_hashable(&item));
    }
    match type_name(value) {
        name @ ("list" | "dict") => Err(failure(format!("a {name} can't be a key"))),
        _ => Ok(()),
    }
}

/// Compares `a` with `b`; `None` for NaN. Fails for types that Python does not order.
pub(super) fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, Error> {
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(Some(a.cmp(b)));
    }
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return Ok(Some(a.cmp(&b)));
    }
    if let (Some(a), Some(b)) = (float(a), float(b)) {
        return Ok(a.partial_cmp(&b));
    }
    let same_kind = is_sequence(a) && is_sequence(b) && is_tuple(a) == is_tuple(b);
    if !same_kind {
        let (a, b) = (type_name(a), type_name(b));
        return Err(failure(format!("a {a} and a {b} have no order")));
    }
    let (mut left, mut right) = (a.try_iter()?, b.try_iter()?);
    loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => return order(&a, &b),
            (a, b) => return Ok(Some(a.is_some().cmp(&b.is_some()))),
        }
    }
}

/// `str(value)`.
pub(super) fn text(state: &State, value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let mut printer = Printer { out: String::new() };
    if !value.is_undefined() {
        printer.repr(value)?;
    }
    state.consume_fuel(printer.out.len() as u64 / 4)?;
    Ok(printer.out)
}

/// `repr(value)`.
pub(super) fn repr(state: &State, value: &Value) -> Result<String, Error> {
    let mut printer = Printer { out: String::new() };
    printer.repr(value)?;
    state.consume_fuel(printer.out.len() as u64 / 4)?;
    Ok(printer.out)
}

struct Printer {
    out: String,
}

impl Printer {
    fn push(&mut self, text: &str) -> Result<(), Error> {
        self.out.push_str(text);
        match self.out.len() {
            0..=MAX_TEXT_BYTES => Ok(()),
            _ => Err(failure("a printed list or map is too large")),
        }
    }

    fn repr(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::Undefined => self.push("Undefined"),
            ValueKind::None => self.push("None"),
            ValueKind::String => self.quoted(value.as_str().unwrap_or_default()),
            ValueKind::Number => match float(value).filter(|_| !value.is_integer()) {
                Some(float) => self.push(&float_text(float)),
                None => self.push(&value.to_string()),
            },
            ValueKind::Seq | ValueKind::Iterable => self.list(value),
            ValueKind::Map if guard::is_namespace(value) => {
                self.push("<Namespace ")?;
                self.map(value)?;
                self.push(">")
            }
            ValueKind::Map if is_dict(value) => self.map(value),
            _ if value.downcast_object_ref::<Method>().is_some() => self.push("<built-in method>"),
            _ => self.push(&value.to_string()),
        }
    }

    fn list(&mut self, value: &Value) -> Result<(), Error> {
        if let Some(range) = value.downcast_object_ref::<Range>() {
            return self.push(&range.to_string());
        }
        let (open, close) = if is_tuple(value) {
            ("(", ")")
        } else {
            ("[", "]")
        };
        self.push(open)?;
        let mut count = 0;
        for item in value.try_iter()? {
            if count > 0 {
                self.push(", ")?;
            }
            self.repr(&item)?;
            count += 1;
        }
        if count == 1 && open == "(" {
            self.push(",")?;
        }
        self.push(close)
    }

    fn map(&mut self, value: &Value) -> Result<(), Error> {
        self.push("{")?;
        let pairs = value.as_object().and_then(|object| object.try_iter_pairs());
        for (index, (key, item)) in pairs.into_iter().flatten().enumerate() {
            if index > 0 {
                self.push(", ")?;
            }
            self.repr(&key)?;
            self.push(": ")?;
            self.repr(&item)?;
        }
        self.push("}")
    }

    fn quoted(&mut self, text: &str) -> Result<(), Error> {
        let quote = if text.contains('\'') && !text.contains('"') {
            '"'
        } else {
            '\''
        };
        self.out.push(quote);
        for c in text.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if c == quote => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                c if is_printable(c) => self.out.push(c),
                c => push_code(&mut self.out, c),
            }
        }
        self.out.push(quote);
        self.push("")
    }
}

/// The escape of a character by its code.
pub(super) fn push_code(out: &mut String, c: char) {
    let code = u32::from(c);
    let written = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    debug_assert!(written.is_ok());
}

/// Whether `repr` prints the character unescaped: Rust's `Debug` has the same rule.
pub(super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // The character is tested as the second one, because Rust escapes a combining mark that
    // is the first.
    let pair: String = ['a', c].into_iter().collect();
    pair.escape_debug().nth(1) == Some(c)
}

/// A float as `repr` writes it.
pub(super) fn float_text(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let small = float != 0.0 && float.abs() < 1e-4;
    if !small && float.abs() < 1e16 {
        return format!("{float:?}");
    }
    exponent(&format!("{float:e}"))
}

/// Rust's `1e5` as C writes it: `1e+05`.
pub(super) fn exponent(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let sign = if exponent.starts_with('-') { '-' } else { '+' };
    format!("{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'))
}

/// Whether Python counts the character as white space.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip()`, `str.lstrip()` and `str.rstrip()`: what a template may do to a text.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

pub(super) fn strip_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

pub(super) fn strip_end(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// The lines of a text by Python's breaks, each with its break.
pub(super) fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_break) {
        let len = rest[at..].chars().next().map_or(1, char::len_utf8);
        let len = if rest[at..].starts_with("\r\n") {
            2
        } else {
            len
        };
        lines.push(&rest[..at + len]);
        rest = &rest[at + len..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// A line without its break.
pub(super) fn without_break(line: &str) -> &str {
    let no_break = || line.strip_suffix(is_break).unwrap_or(line);
    line.strip_suffix("\r\n").unwrap_or_else(no_break)
}

/// Whether a line ends at the character.
pub(super) fn is_break(c: char) -> bool {
    let ascii = matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}');
    ascii || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')
}

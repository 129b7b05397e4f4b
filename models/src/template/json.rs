//! `tojson` as `transformers` defines it for chat templates: Python's
//! `json.dumps` with `ensure_ascii` off, and no escapes for HTML.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, from_args};
use minijinja::{Error, State};

use super::guard::{Limits, MAX_TEXT_BYTES, failure};

/// Arguments in Python's order: `ensure_ascii`, `indent`, `separators`, `sort_keys`.
type Arguments = (
    Option<bool>,
    Option<Value>,
    Option<Value>,
    Option<bool>,
    Kwargs,
);

/// The filter `tojson`.
pub(super) fn tojson(
    limits: Limits,
    state: &State,
    value: &Value,
    arguments: Rest<Value>,
) -> Result<Value, Error> {
    limits.check(state, value)?;
    let mut writer = Writer::new(from_args(&arguments)?)?;
    writer.value(value, 0)?;
    Ok(Value::from(writer.out))
}

struct Writer {
    out: String,
    ensure_ascii: bool,
    sort_keys: bool,
    /// What one level is indented by; `None` keeps all on one line.
    indent: Option<String>,
    between_items: String,
    after_key: String,
}

impl Writer {
    fn new(
        (ensure_ascii, indent, separators, sort_keys, named): Arguments,
    ) -> Result<Writer, Error> {
        let indent = match indent {
            None => named.get("indent")?,
            given => given,
        };
        let separators = match separators {
            None => named.get("separators")?,
            given => given,
        };
        let ensure_ascii = ensure_ascii.or(named.get("ensure_ascii")?).unwrap_or(false);
        let sort_keys = sort_keys.or(named.get("sort_keys")?).unwrap_or(false);
        named.assert_all_used()?;
        let indent = indent.map(indentation).transpose()?.flatten();
        let (between_items, after_key) = match separators.filter(|s| !s.is_none()) {
            Some(pair) => (separator(&pair, 0)?, separator(&pair, 1)?),
            None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
            None => (", ".to_owned(), ": ".to_owned()),
        };
        Ok(Writer {
            out: String::new(),
            ensure_ascii,
            sort_keys,
            indent,
            between_items,
            after_key,
        })
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => self.push("null"),
            ValueKind::Bool => self.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.push(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Map => self.map(value, depth),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth),
            kind => Err(failure(format!("a {kind} can't be written as JSON"))),
        }
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.push("[")?;
        let mut empty = true;
        for item in value.try_iter()? {
            self.start_item(empty, depth + 1)?;
            self.value(&item, depth + 1)?;
            empty = false;
        }
        self.end(empty, depth, "]")
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut pairs: Vec<(String, Value)> = Vec::new();
        for (key, item) in value
            .as_object()
            .and_then(|o| o.try_iter_pairs())
            .into_iter()
            .flatten()
        {
            pairs.push((key_text(&key)?, item));
        }
        if self.sort_keys {
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        self.push("{")?;
        for (index, (key, item)) in pairs.iter().enumerate() {
            self.start_item(index == 0, depth + 1)?;
            self.string(key)?;
            self.push_own(|writer| &writer.after_key)?;
            self.value(item, depth + 1)?;
        }
        self.end(pairs.is_empty(), depth, "}")
    }

    fn start_item(&mut self, first: bool, depth: usize) -> Result<(), Error> {
        if !first {
            self.push_own(|writer| &writer.between_items)?;
        }
        self.line(depth)
    }

    fn end(&mut self, empty: bool, depth: usize, bracket: &str) -> Result<(), Error> {
        if !empty {
            self.line(depth)?;
        }
        self.push(bracket)
    }

    fn line(&mut self, depth: usize) -> Result<(), Error> {
        if self.indent.is_some() {
            self.push("\n")?;
            for _ in 0..depth {
                self.push_own(|writer| writer.indent.as_deref().unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.push("\"")?;
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            let Some(escaped) = self.escape(c) else {
                continue;
            };
            self.push(&text[plain..at])?;
            self.push(&escaped)?;
            plain = at + c.len_utf8();
        }
        self.push(&text[plain..])?;
        self.push("\"")
    }

    /// The escape sequence of a character that needs one.
    fn escape(&self, c: char) -> Option<String> {
        Some(match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            c if c < ' ' || self.ensure_ascii && c > '~' => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect(),
            _ => return None,
        })
    }

    fn push(&mut self, text: &str) -> Result<(), Error> {
        fits(&self.out, text)?;
        self.out.push_str(text);
        Ok(())
    }

    /// Pushes a text of the writer itself.
    fn push_own(&mut self, text: impl Fn(&Writer) -> &str) -> Result<(), Error> {
        let text = text(self).to_owned();
        self.push(&text)
    }
}

fn fits(out: &str, text: &str) -> Result<(), Error> {
    match out.len() + text.len() {
        0..=MAX_TEXT_BYTES => Ok(()),
        bytes => Err(failure(format!(
            "`tojson` would make more than {bytes} bytes"
        ))),
    }
}

/// The indentation of one level, from a number of spaces or a text.
fn indentation(value: Value) -> Result<Option<String>, Error> {
    if value.is_none() || value.is_undefined() {
        return Ok(None);
    }
    if let Some(text) = value.as_str() {
        return Ok(Some(text.to_owned()));
    }
    let spaces = i64::try_from(value)?.clamp(0, MAX_TEXT_BYTES as i64);
    Ok(Some(" ".repeat(spaces as usize)))
}

fn separator(pair: &Value, index: usize) -> Result<String, Error> {
    let text = pair.get_item_by_index(index)?;
    match text.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(failure("`separators` must be two strings")),
    }
}

/// A key as text; Python writes numbers, booleans and None as such.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::Number => Ok(number(key)),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        kind => Err(failure(format!("a {kind} can't be a key in JSON"))),
    }
}

/// A number as Python's `repr` writes it.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let Ok(float) = f64::try_from(value.clone()) else {
        return value.to_string();
    };
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let small = float != 0.0 && float.abs() < 1e-4;
    if !small && float.abs() < 1e16 {
        return format!("{float:?}");
    }
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let sign = if exponent.starts_with('-') { '-' } else { '+' };
    format!("{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'))
}

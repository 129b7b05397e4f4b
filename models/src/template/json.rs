//! `tojson` as `transformers` defines it for chat templates: Python's
//! `json.dumps` with `ensure_ascii` off, and no escapes for HTML.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, State};

use super::guard::{Limits, MAX_TEXT_BYTES, failure};
use super::python;

/// Most spaces that one level is indented by.
const MAX_INDENT: i64 = 64;

/// The filter `tojson`. Python's order of arguments is `ensure_ascii`, `indent`,
/// `separators`, `sort_keys`.
pub(super) fn tojson(
    limits: Limits,
    state: &State,
    value: Value,
    positional: &[Value],
    named: &Kwargs,
) -> Result<Value, Error> {
    let value = limits.settle(state, value, true)?;
    let mut writer = Writer::new(positional, named)?;
    writer.value(&value, 0)?;
    state.consume_fuel((writer.out.len() / 4) as u64)?;
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
    fn new(positional: &[Value], named: &Kwargs) -> Result<Writer, Error> {
        let argument = |index: usize, name: &str| -> Result<Option<Value>, Error> {
            let value = match positional.get(index) {
                Some(value) => Some(value.clone()),
                None => named.get(name)?,
            };
            Ok(value.filter(|v| !v.is_none() && !v.is_undefined()))
        };
        let ensure_ascii = argument(0, "ensure_ascii")?.is_some_and(|v| v.is_true());
        let indent = argument(1, "indent")?.map(indentation).transpose()?;
        let separators = argument(2, "separators")?;
        let sort_keys = argument(3, "sort_keys")?.is_some_and(|v| v.is_true());
        named.assert_all_used()?;
        let (between_items, after_key) = match separators {
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
            ValueKind::None => self.push("null"),
            ValueKind::Bool => self.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.push(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Map if python::is_dict(value) => self.map(value, depth),
            ValueKind::Seq | ValueKind::Iterable if python::type_name(value) != "range" => {
                self.list(value, depth)
            }
            _ => {
                let name = python::type_name(value);
                Err(failure(format!("a {name} can't be written as JSON")))
            }
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
        _ => Err(failure(format!(
            "`tojson` would make more than {MAX_TEXT_BYTES} bytes"
        ))),
    }
}

/// The indentation of one level, from a number of spaces or a text.
fn indentation(value: Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let spaces = i64::try_from(value)?.clamp(0, MAX_INDENT);
    Ok(" ".repeat(spaces as usize))
}

fn separator(pair: &Value, index: usize) -> Result<String, Error> {
    let text = pair.get_item_by_index(index).unwrap_or_default();
    text.as_str()
        .map(str::to_owned)
        .ok_or_else(|| failure("`separators` must be two strings"))
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

/// A number as Python writes it.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let text = f64::try_from(value.clone()).map(python::float_text);
    match text.as_deref() {
        Ok("nan") => "NaN".to_owned(),
        Ok("inf") => "Infinity".to_owned(),
        Ok("-inf") => "-Infinity".to_owned(),
        Ok(text) => text.to_owned(),
        Err(_) => value.to_string(),
    }
}

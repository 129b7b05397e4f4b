//! Python's methods of strings, lists and dicts. The size of a result is estimated
//! before the call: replacing each letter of a megabyte by a megabyte would give a
//! terabyte.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::arguments::Arguments;
use super::format;
use super::guard::{Limits, MAX_TEXT_BYTES, failure};
use super::operators::tuple;
use super::python::{self, is_sequence, is_space, type_name};

/// Bytes of text that one step of the engine scans.
const BYTES_PER_FUEL: usize = 64;
/// What an item of a list counts, in bytes.
const ITEM_BYTES: usize = 16;

const TEXT: [&str; 44] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const DICT: [&str; 5] = ["copy", "get", "items", "keys", "values"];
const LIST: [&str; 3] = ["copy", "count", "index"];
/// Names that are looked up as methods first, where they are not called at once.
pub(super) const NAMES: [&str; 10] = [
    "copy", "count", "get", "items", "keys", "lower", "strip", "title", "upper", "values",
];

/// Whether the value has the method.
pub(super) fn has(value: &Value, name: &str) -> bool {
    match type_name(value) {
        "str" => TEXT.contains(&name),
        "dict" => DICT.contains(&name),
        "list" | "tuple" => LIST.contains(&name),
        _ => false,
    }
}

/// Calls `value.name(arguments)`.
pub(super) fn call(
    limits: Limits,
    state: &mut State,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if !has(value, name) {
        return Err(Error::from(ErrorKind::UnknownMethod));
    }
    let mut arguments = Arguments::new(arguments);
    let made = match value.as_str() {
        Some(text) => {
            state.consume_fuel((text.len() / BYTES_PER_FUEL) as u64)?;
            of_text(state, text, name, &mut arguments)?
        }
        None if value.kind() == ValueKind::Map => of_dict(value, name, &mut arguments)?,
        None => of_list(state, limits, value, name, &mut arguments)?,
    };
    arguments.finish()?;
    let bytes = made.as_str().map_or(0, str::len);
    check_made(name, bytes)?;
    state.consume_fuel((bytes / BYTES_PER_FUEL) as u64)?;
    limits.settle(state, made, true)
}

fn of_dict(value: &Value, name: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let pairs = || python::pairs(value).into_iter();
    Ok(match name {
        "get" => {
            let key = arguments.need("key")?;
            let default = arguments.take("").unwrap_or(Value::from(()));
            python::check_hashable(&key)?;
            let found = value.as_object().and_then(|object| object.get_value(&key));
            found.unwrap_or(default)
        }
        "items" => pairs().map(|(key, item)| tuple(vec![key, item])).collect(),
        "keys" => pairs().map(|(key, _)| key).collect(),
        "values" => pairs().map(|(_, item)| item).collect(),
        _ => value.clone(),
    })
}

fn of_list(
    state: &State,
    limits: Limits,
    value: &Value,
    name: &str,
    arguments: &mut Arguments,
) -> Result<Value, Error> {
    if name == "copy" {
        return Ok(value.clone());
    }
    let wanted = arguments.need("value")?;
    let bytes = limits
        .bytes_of(value)
        .saturating_add(limits.bytes_of(&wanted));
    state.consume_fuel((bytes / BYTES_PER_FUEL) as u64)?;
    let mut items = value.try_iter()?;
    match name {
        "count" => Ok(Value::from(items.filter(|item| *item == wanted).count())),
        _ => match items.position(|item| item == wanted) {
            Some(at) => Ok(Value::from(at)),
            None => Err(failure("the list does not have the value")),
        },
    }
}

fn of_text(
    state: &State,
    text: &str,
    name: &str,
    arguments: &mut Arguments,
) -> Result<Value, Error> {
    Ok(match name {
        "upper" => Value::from(text.to_uppercase()),
        "lower" => Value::from(text.to_lowercase()),
        "casefold" => Value::from(text.replace(['ß', 'ẞ'], "ss").to_lowercase()),
        "swapcase" => Value::from(swapped(text)),
        "capitalize" => Value::from(capitalized(text)),
        "title" => Value::from(title(text)),
        "strip" | "lstrip" | "rstrip" => strip(text, name, arguments)?,
        "removeprefix" => {
            let prefix = arguments.need_text("prefix")?;
            Value::from(text.strip_prefix(&prefix[..]).unwrap_or(text))
        }
        "removesuffix" => {
            let suffix = arguments.need_text("suffix")?;
            Value::from(text.strip_suffix(&suffix[..]).unwrap_or(text))
        }
        "startswith" | "endswith" => has_end(text, name, arguments)?,
        "find" | "rfind" | "index" | "rindex" | "count" => search(text, name, arguments)?,
        "replace" => replace(text, arguments)?,
        "split" | "rsplit" => split(text, name, arguments)?,
        "partition" | "rpartition" => partition(text, name, arguments)?,
        "splitlines" => {
            let keeps = arguments.is_true("keepends");
            check_made(name, text.matches(python::is_break).count() * ITEM_BYTES)?;
            let lines = python::lines(text).into_iter();
            lines
                .map(|line| {
                    if keeps {
                        line
                    } else {
                        python::without_break(line)
                    }
                })
                .map(Value::from)
                .collect()
        }
        "join" => join(text, &arguments.need("iterable")?)?,
        "center" | "ljust" | "rjust" => justify(text, name, arguments)?,
        "zfill" => zero_filled(text, arguments)?,
        "expandtabs" => expand_tabs(text, arguments)?,
        "format" => {
            let (positional, named) = arguments.rest();
            Value::from(format::braces(state, text, &positional, named.as_ref())?)
        }
        "encode" => return Err(failure("a template can't make bytes")),
        _ => Value::from(is_all(text, name)),
    })
}

/// The methods that ask what a text is made of.
fn is_all(text: &str, name: &str) -> bool {
    let all = |holds: fn(char) -> bool| !text.is_empty() && text.chars().all(holds);
    let cased = |own: fn(char) -> bool, other: fn(char) -> bool| {
        text.chars().any(own) && !text.chars().any(other)
    };
    match name {
        "isascii" => text.is_ascii(),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isdecimal" => all(|c| c.is_numeric() && is_decimal(c)),
        "isdigit" => all(|c| is_decimal(c) || is_superscript(c)),
        "isnumeric" => all(char::is_numeric),
        "isspace" => all(is_space),
        "isprintable" => text.chars().all(python::is_printable),
        "islower" => cased(char::is_lowercase, char::is_uppercase),
        "isupper" => cased(char::is_uppercase, char::is_lowercase),
        "istitle" => title(text) == text && text.chars().any(char::is_alphabetic),
        _ => {
            let starts = text
                .chars()
                .next()
                .is_some_and(|c| c.is_alphabetic() || c == '_');
            starts && text.chars().all(|c| c.is_alphanumeric() || c == '_')
        }
    }
}

/// Digits of the scripts, by the start of each row of ten.
fn is_decimal(c: char) -> bool {
    const ROWS: [u32; 8] = [0x30, 0x660, 0x6f0, 0x966, 0x9e6, 0xe50, 0x17e0, 0xff10];
    let code = u32::from(c);
    ROWS.iter()
        .any(|start| (*start..start + 10).contains(&code))
}

fn is_superscript(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨')
}

fn swapped(text: &str) -> String {
    let swap = |c: char| -> String {
        if c.is_uppercase() {
            c.to_lowercase().collect()
        } else {
            c.to_uppercase().collect()
        }
    };
    text.chars().map(swap).collect()
}

/// The text with the first letter in upper case and the others in lower case.
pub(super) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>());
    first.unwrap_or_default() + &chars.as_str().to_lowercase()
}

/// The text with each letter that does not follow a letter in upper case, and the others in
/// lower case.
fn title(text: &str) -> String {
    let mut out = String::new();
    let mut in_word = false;
    for c in text.chars() {
        match in_word {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        in_word = c.is_lowercase() || c.is_uppercase();
    }
    out
}

fn strip(text: &str, name: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let chars = arguments.text_or_none("chars")?;
    let goes = |c: char| match &chars {
        Some(chars) => chars.contains(c),
        None => is_space(c),
    };
    Ok(Value::from(match name {
        "strip" => text.trim_matches(goes),
        "lstrip" => text.trim_start_matches(goes),
        _ => text.trim_end_matches(goes),
    }))
}

/// The text from the character `start` to the character `end`, and the number of the first.
fn part<'t>(text: &'t str, arguments: &mut Arguments) -> Result<Option<(&'t str, usize)>, Error> {
    let (start, end) = (arguments.integer("start")?, arguments.integer("end")?);
    if start.is_none() && end.is_none() {
        return Ok(Some((text, 0)));
    }
    let len = text.chars().count() as i64;
    let bound = |value: i64| {
        if value < 0 {
            (value + len).max(0)
        } else {
            value
        }
    };
    let (start, end) = (
        bound(start.unwrap_or(0)),
        bound(end.unwrap_or(len)).min(len),
    );
    if start > end {
        return Ok(None);
    }
    let byte = |at: i64| {
        text.char_indices()
            .nth(at as usize)
            .map_or(text.len(), |(at, _)| at)
    };
    Ok(Some((&text[byte(start)..byte(end)], start as usize)))
}

fn has_end(text: &str, name: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let wanted = arguments.need("prefix")?;
    let wanted = match python::is_tuple(&wanted) {
        true => python::items(&wanted)?,
        false => vec![wanted],
    };
    let part = part(text, arguments)?;
    for end in &wanted {
        let Some(end) = end.as_str() else {
            return Err(failure(format!(
                "`{name}` wants a text, not a {}",
                type_name(end)
            )));
        };
        let holds = part.is_some_and(|(part, _)| match name {
            "startswith" => part.starts_with(end),
            _ => part.ends_with(end),
        });
        if holds {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

fn search(text: &str, name: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let wanted = arguments.need_text("sub")?;
    let part = part(text, arguments)?;
    if name == "count" {
        let count = part.map_or(0, |(part, _)| part.matches(&wanted[..]).count());
        return Ok(Value::from(count));
    }
    let found = part.and_then(|(part, start)| {
        let at = if name.starts_with('r') {
            part.rfind(&wanted[..])
        } else {
            part.find(&wanted[..])
        };
        Some(start + part[..at?].chars().count())
    });
    match (found, name) {
        (Some(at), _) => Ok(Value::from(at)),
        (None, "find" | "rfind") => Ok(Value::from(-1)),
        (None, _) => Err(failure("the text is not found")),
    }
}

fn replace(text: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let (old, new) = (arguments.need_text("old")?, arguments.need_text("new")?);
    // Python has a name for this argument only from 3.13 on.
    let count = arguments.integer("")?;
    let count = count.and_then(|count| usize::try_from(count).ok());
    replaced(text, &old, &new, count).map(Value::from)
}

/// `text.replace(old, new, count)`, within the limit.
pub(super) fn replaced(
    text: &str,
    old: &str,
    new: &str,
    count: Option<usize>,
) -> Result<String, Error> {
    let found = text.matches(old).count().min(count.unwrap_or(usize::MAX));
    check_made(
        "replace",
        found.saturating_mul(new.len()).saturating_add(text.len()),
    )?;
    Ok(text.replacen(old, new, found))
}

fn check_made(name: &str, bytes: usize) -> Result<(), Error> {
    match bytes {
        0..=MAX_TEXT_BYTES => Ok(()),
        _ => Err(failure(format!("`{name}` would make {bytes} bytes"))),
    }
}

fn split(text: &str, name: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let separator = arguments.text_or_none("sep")?;
    let most = arguments.integer("maxsplit")?;
    let most = most
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(usize::MAX);
    let Some(separator) = separator else {
        let spaces = text.matches(is_space).count().min(most);
        check_made(name, spaces.saturating_mul(ITEM_BYTES))?;
        let words = if name == "split" {
            words(text, most)
        } else {
            words_from_end(text, most)
        };
        return Ok(words.into_iter().map(Value::from).collect());
    };
    if separator.is_empty() {
        return Err(failure("a text can't be split at an empty one"));
    }
    let pieces = text.matches(&separator[..]).count().min(most);
    check_made(name, pieces.saturating_mul(ITEM_BYTES))?;
    let count = most.saturating_add(1);
    if name == "split" {
        return Ok(text
            .splitn(count, &separator[..])
            .map(Value::from)
            .collect());
    }
    let mut pieces: Vec<&str> = text.rsplitn(count, &separator[..]).collect();
    pieces.reverse();
    Ok(pieces.into_iter().map(Value::from).collect())
}

fn words(text: &str, most: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let end = rest.find(is_space).filter(|_| words.len() < most);
        let Some(end) = end else {
            // No space is left, or no more may be split: the rest is one word.
            words.push(rest);
            break;
        };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    words
}

fn words_from_end(text: &str, most: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        let start = rest
            .char_indices()
            .rev()
            .find(|(_, c)| is_space(*c))
            .filter(|_| words.len() < most);
        let Some((at, c)) = start else {
            words.push(rest);
            break;
        };
        words.push(&rest[at + c.len_utf8()..]);
        rest = rest[..at].trim_end_matches(is_space);
    }
    words.reverse();
    words
}

fn partition(text: &str, name: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let separator = arguments.need_text("sep")?;
    if separator.is_empty() {
        return Err(failure("a text can't be split at an empty one"));
    }
    let parts = if name == "partition" {
        let halves = text.split_once(&separator[..]);
        halves.map_or([text, "", ""], |(before, after)| {
            [before, &separator, after]
        })
    } else {
        let halves = text.rsplit_once(&separator[..]);
        halves.map_or(["", "", text], |(before, after)| {
            [before, &separator, after]
        })
    };
    Ok(tuple(parts.into_iter().map(Value::from).collect()))
}

fn join(separator: &str, items: &Value) -> Result<Value, Error> {
    if items.is_undefined() || is_sequence(items) || python::is_iterable(items) {
        let mut out = String::new();
        for (index, item) in python::items(items)?.iter().enumerate() {
            let Some(text) = item.as_str() else {
                return Err(failure(format!(
                    "`join` wants texts, not a {}",
                    type_name(item)
                )));
            };
            if index > 0 {
                out.push_str(separator);
            }
            out.push_str(text);
            check_made("join", out.len())?;
        }
        return Ok(Value::from(out));
    }
    Err(failure(format!("a {} can't be joined", type_name(items))))
}

fn justify(text: &str, name: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let width = arguments
        .integer("")?
        .ok_or_else(|| failure("`width` is missing"))?;
    let fill = arguments.text("")?.unwrap_or_else(|| " ".to_owned());
    if fill.chars().count() != 1 {
        return Err(failure("the fill must be one character"));
    }
    justified(text, name, width, &fill).map(Value::from)
}

/// The text with `fill` around it, up to `width`.
pub(super) fn justified(text: &str, name: &str, width: i64, fill: &str) -> Result<String, Error> {
    let len = text.chars().count();
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(len);
    check_made(
        name,
        missing
            .saturating_mul(fill.len())
            .saturating_add(text.len()),
    )?;
    let before = match name {
        "ljust" => 0,
        "rjust" => missing,
        // As in CPython, the odd one goes to the left where the width is odd too.
        _ => missing / 2 + (missing & width & 1),
    };
    Ok(fill.repeat(before) + text + &fill.repeat(missing - before))
}

fn zero_filled(text: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let width = arguments
        .integer("")?
        .ok_or_else(|| failure("`width` is missing"))?;
    let sign = if text.starts_with(['+', '-']) { 1 } else { 0 };
    let digits = justified(
        &text[sign..],
        "rjust",
        width.saturating_sub(sign as i64),
        "0",
    )?;
    Ok(Value::from(text[..sign].to_owned() + &digits))
}

fn expand_tabs(text: &str, arguments: &mut Arguments) -> Result<Value, Error> {
    let size = arguments.integer("tabsize")?.unwrap_or(8);
    let size = usize::try_from(size).unwrap_or(0);
    check_made(
        "expandtabs",
        text.matches('\t').count().saturating_mul(size),
    )?;
    let mut out = String::new();
    let mut column = 0;
    for c in text.chars() {
        if c == '\t' {
            let spaces = if size == 0 { 0 } else { size - column % size };
            out.push_str(&" ".repeat(spaces));
            column += spaces;
            continue;
        }
        out.push(c);
        column = if matches!(c, '\n' | '\r') {
            0
        } else {
            column + 1
        };
    }
    Ok(Value::from(out))
}

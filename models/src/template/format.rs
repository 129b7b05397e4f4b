//! Python's two ways to format: `'%s' % value` and `'{}'.format(value)`.

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, State};

use super::guard::{MAX_TEXT_BYTES, failure};
use super::python::{self, exponent, integer, is_dict, is_tuple, type_name};

/// Largest width and precision.
const MAX_WIDTH: usize = 10_000;

/// How a value is padded and written.
#[derive(Debug, Default, Clone)]
struct Spec {
    fill: Option<char>,
    /// `<`, `>`, `^` or `=`.
    align: Option<char>,
    /// `+` or a space.
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    /// `,` or `_`.
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// `template % values`.
pub(super) fn percent(state: &State, template: &str, values: &Value) -> Result<String, Error> {
    state.consume_fuel(template.len() as u64 / 16)?;
    let mut out = String::new();
    let mut given = Values::new(values)?;
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        push(&mut out, &rest[..at])?;
        rest = &rest[at + 1..];
        let mut named = None;
        if let Some(inner) = rest.strip_prefix('(') {
            let end = inner
                .find(')')
                .ok_or_else(|| failure("a format lacks its `)`"))?;
            named = Some(given.named(&inner[..end])?);
            rest = &inner[end + 1..];
        }
        let spec = percent_spec(&mut rest, &mut given)?;
        let text = match spec.kind {
            Some('%') => "%".to_owned(),
            _ => {
                let value = match named {
                    Some(value) => value,
                    None => given.next()?,
                };
                percent_value(state, &spec, &value)?
            }
        };
        push(&mut out, &text)?;
    }
    push(&mut out, rest)?;
    given.finish()?;
    Ok(out)
}

/// What stands on the right of `%`.
struct Values {
    positional: std::vec::IntoIter<Value>,
    named: Option<Value>,
    used: bool,
    is_tuple: bool,
}

impl Values {
    fn new(values: &Value) -> Result<Values, Error> {
        let is_tuple = is_tuple(values);
        let list = if is_tuple {
            python::items(values)?
        } else {
            vec![values.clone()]
        };
        Ok(Values {
            positional: list.into_iter(),
            named: is_dict(values).then(|| values.clone()),
            used: false,
            is_tuple,
        })
    }

    fn next(&mut self) -> Result<Value, Error> {
        self.used = true;
        let value = self.positional.next();
        value.ok_or_else(|| failure("there are fewer values than the format wants"))
    }

    fn named(&mut self, name: &str) -> Result<Value, Error> {
        self.used = true;
        let map = self
            .named
            .as_ref()
            .ok_or_else(|| failure("the format wants a map"))?;
        let value = map
            .as_object()
            .and_then(|object| object.get_value(&Value::from(name)));
        value.ok_or_else(|| failure(format!("the format wants `{name}`")))
    }

    /// Fails where values are left. A map or a list alone need not be used.
    fn finish(mut self) -> Result<(), Error> {
        let left = self.positional.next();
        let may_stay = |value: &Value| {
            !self.is_tuple && (is_dict(value) || python::is_sequence(value)) || self.named.is_some()
        };
        match left {
            Some(value) if !may_stay(&value) => {
                Err(failure("there are more values than the format wants"))
            }
            _ => Ok(()),
        }
    }
}

fn percent_spec(rest: &mut &str, given: &mut Values) -> Result<Spec, Error> {
    let mut spec = Spec::default();
    loop {
        match rest.chars().next() {
            Some('-') => spec.align = Some('<'),
            Some('+') => spec.sign = Some('+'),
            Some(' ') => spec.sign = spec.sign.or(Some(' ')),
            Some('#') => spec.alternate = true,
            Some('0') => spec.zero = true,
            _ => break,
        }
        *rest = &rest[1..];
    }
    let mut number = |rest: &mut &str| -> Result<Option<i64>, Error> {
        if let Some(after) = rest.strip_prefix('*') {
            *rest = after;
            let value = integer(&given.next()?).and_then(|n| i64::try_from(n).ok());
            return value.map(Some).ok_or_else(|| failure("`*` wants a number"));
        }
        digits(rest)
    };
    if let Some(width) = number(rest)? {
        if width < 0 {
            spec.align = Some('<');
        }
        spec.width = limited(width.unsigned_abs())?;
    }
    if let Some(after) = rest.strip_prefix('.') {
        *rest = after;
        let precision = number(rest)?.unwrap_or_default().max(0);
        spec.precision = Some(limited(precision.unsigned_abs())?);
    }
    *rest = rest.trim_start_matches(['h', 'l', 'L']);
    spec.kind = rest.chars().next();
    let Some(kind) = spec.kind else {
        return Err(failure("the format is incomplete"));
    };
    *rest = &rest[kind.len_utf8()..];
    Ok(spec)
}

fn percent_value(state: &State, spec: &Spec, value: &Value) -> Result<String, Error> {
    let mut spec = spec.clone();
    let kind = spec.kind.unwrap_or('s');
    let text = match kind {
        's' => python::text(state, value)?,
        'r' => python::repr(state, value)?,
        'a' => ascii(&python::repr(state, value)?),
        'c' => match (integer(value), value.as_str()) {
            (Some(code), _) => {
                let c = u32::try_from(code).ok().and_then(char::from_u32);
                c.ok_or_else(|| failure("`%c` wants a character"))?
                    .to_string()
            }
            (None, Some(text)) if text.chars().count() == 1 => text.to_owned(),
            _ => return Err(failure("`%c` wants a character")),
        },
        'd' | 'i' | 'u' => {
            let number = match integer(value) {
                Some(number) => number,
                None => truncated(value).ok_or_else(|| wants_number(kind, value))?,
            };
            spec.kind = Some('d');
            return number_text(&spec, number, spec.precision);
        }
        'x' | 'X' | 'o' => {
            let number = integer(value).ok_or_else(|| wants_number(kind, value))?;
            return number_text(&spec, number, spec.precision);
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let number = python::float(value).ok_or_else(|| wants_number(kind, value))?;
            return float_text(&spec, number);
        }
        kind => return Err(failure(format!("`%{kind}` is not a format"))),
    };
    let text = match spec.precision {
        Some(precision) if kind != 'c' => text.chars().take(precision).collect(),
        _ => text,
    };
    spec.align = spec.align.or(Some('>'));
    Ok(pad(&spec, "", &text, ' '))
}

fn wants_number(kind: char, value: &Value) -> Error {
    failure(format!(
        "`{kind}` wants a number, not a {}",
        type_name(value)
    ))
}

fn truncated(value: &Value) -> Option<i128> {
    let float = python::float(value).filter(|float| float.is_finite())?;
    Some(float.trunc() as i128)
}

fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            c => python::push_code(&mut out, c),
        }
    }
    out
}

/// An integer by its kind, with sign, prefix, grouping and padding.
fn number_text(spec: &Spec, number: i128, min_digits: Option<usize>) -> Result<String, Error> {
    let size = number.unsigned_abs();
    let (digits, prefix) = match spec.kind {
        Some('x') => (format!("{size:x}"), "0x"),
        Some('X') => (format!("{size:X}"), "0X"),
        Some('o') => (format!("{size:o}"), "0o"),
        Some('b') => (format!("{size:b}"), "0b"),
        _ => (size.to_string(), ""),
    };
    let digits = format!("{digits:0>width$}", width = min_digits.unwrap_or(0));
    let group = if prefix.is_empty() { 3 } else { 4 };
    let digits = grouped(&digits, spec.grouping, group);
    let prefix = if spec.alternate { prefix } else { "" };
    let sign = sign(spec, number < 0);
    Ok(pad_number(spec, &format!("{sign}{prefix}"), &digits))
}

fn float_text(spec: &Spec, number: f64) -> Result<String, Error> {
    let precision = spec.precision.unwrap_or(6);
    let size = number.abs();
    let kind = spec.kind.unwrap_or('g');
    let text = if !size.is_finite() {
        python::float_text(size)
    } else {
        match kind.to_ascii_lowercase() {
            'f' => format!("{size:.precision$}"),
            '%' => format!("{:.precision$}%", size * 100.0),
            'e' => exponent(&format!("{size:.precision$e}")),
            _ => general(size, precision, spec.alternate),
        }
    };
    let text = if kind.is_ascii_uppercase() {
        text.to_uppercase()
    } else {
        text
    };
    let whole = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let text = grouped(&text[..whole], spec.grouping, 3) + &text[whole..];
    let negative = number.is_sign_negative() && !number.is_nan();
    Ok(pad_number(spec, &sign(spec, negative), &text))
}

/// C's `%g`.
fn general(size: f64, precision: usize, keeps_zeros: bool) -> String {
    let precision = precision.max(1);
    let scientific = format!("{size:.*e}", precision - 1);
    let power = scientific
        .split_once('e')
        .and_then(|(_, power)| power.parse::<i64>().ok());
    let power = power.unwrap_or_default();
    let trim = |text: &str| match text.contains('.') && !keeps_zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if power < -4 || power >= precision as i64 {
        let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{power}", trim(digits)));
    }
    let decimals = usize::try_from(precision as i64 - 1 - power).unwrap_or_default();
    trim(&format!("{size:.decimals$}"))
}

fn sign(spec: &Spec, negative: bool) -> String {
    match (negative, spec.sign) {
        (true, _) => "-".to_owned(),
        (false, Some(sign @ ('+' | ' '))) => sign.to_string(),
        _ => String::new(),
    }
}

fn grouped(digits: &str, separator: Option<char>, size: usize) -> String {
    let Some(separator) = separator else {
        return digits.to_owned();
    };
    let mut out = String::new();
    for (index, c) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(size) {
            out.push(separator);
        }
        out.push(c);
    }
    out
}

fn pad_number(spec: &Spec, sign: &str, digits: &str) -> String {
    let mut spec = spec.clone();
    if spec.zero && spec.align.is_none() {
        spec.align = Some('=');
        spec.fill = spec.fill.or(Some('0'));
    }
    spec.align = spec.align.or(Some('>'));
    pad(&spec, sign, digits, ' ')
}

fn pad(spec: &Spec, sign: &str, text: &str, fill: char) -> String {
    let fill = spec.fill.unwrap_or(fill).to_string();
    let missing = spec
        .width
        .saturating_sub(sign.chars().count() + text.chars().count());
    let (before, between, after) = match spec.align {
        Some('<') | None => (0, 0, missing),
        Some('^') => (missing / 2, 0, missing - missing / 2),
        Some('=') => (0, missing, 0),
        _ => (missing, 0, 0),
    };
    let of = |count: usize| fill.repeat(count);
    format!("{}{sign}{}{text}{}", of(before), of(between), of(after))
}

fn push(out: &mut String, text: &str) -> Result<(), Error> {
    out.push_str(text);
    match out.len() {
        0..=MAX_TEXT_BYTES => Ok(()),
        _ => Err(failure(format!(
            "a format would make more than {MAX_TEXT_BYTES} bytes"
        ))),
    }
}

fn digits(rest: &mut &str) -> Result<Option<i64>, Error> {
    let len = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (number, after) = rest.split_at(len);
    *rest = after;
    match (number.is_empty(), number.parse()) {
        (true, _) => Ok(None),
        (false, Ok(number)) => Ok(Some(number)),
        (false, Err(_)) => Err(too_wide()),
    }
}

fn limited(width: u64) -> Result<usize, Error> {
    let width = usize::try_from(width)
        .ok()
        .filter(|width| *width <= MAX_WIDTH);
    width.ok_or_else(too_wide)
}

fn too_wide() -> Error {
    failure("a width in this format string is too large")
}

/// `template.format(…)`.
pub(super) fn braces(
    state: &State,
    template: &str,
    positional: &[Value],
    named: Option<&Kwargs>,
) -> Result<String, Error> {
    state.consume_fuel(template.len() as u64 / 16)?;
    let mut fields = Fields {
        positional,
        named,
        next: Some(0),
    };
    fields.format(state, template, 2)
}

/// The values that fields refer to.
struct Fields<'v> {
    positional: &'v [Value],
    named: Option<&'v Kwargs>,
    /// The next automatic number; `None` once fields have numbers of their own.
    next: Option<usize>,
}

impl Fields<'_> {
    fn format(&mut self, state: &State, template: &str, depth: usize) -> Result<String, Error> {
        if depth == 0 {
            return Err(failure("fields of a format are nested too deeply"));
        }
        let mut out = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            push(&mut out, &rest[..at])?;
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                push(&mut out, brace)?;
                rest = after;
                continue;
            }
            let end = if brace == "{" {
                end_of_field(rest)
            } else {
                None
            };
            let end = end.ok_or_else(|| failure("a format has an unmatched `{` or `}`"))?;
            let text = self.field(state, &rest[..end], depth)?;
            push(&mut out, &text)?;
            rest = &rest[end + 1..];
        }
        push(&mut out, rest)?;
        Ok(out)
    }

    fn field(&mut self, state: &State, field: &str, depth: usize) -> Result<String, Error> {
        let head_len = field.find(['!', ':']).unwrap_or(field.len());
        let (head, mut tail) = field.split_at(head_len);
        let mut value = self.value(head)?;
        if let Some(after) = tail.strip_prefix('!') {
            let kind = after.chars().next().unwrap_or_default();
            value = Value::from(match kind {
                's' => python::text(state, &value)?,
                'r' => python::repr(state, &value)?,
                'a' => ascii(&python::repr(state, &value)?),
                kind => return Err(failure(format!("`!{kind}` is not a conversion"))),
            });
            tail = &after[kind.len_utf8()..];
        }
        let spec = tail.strip_prefix(':').unwrap_or_default();
        let spec = self
            .format(state, spec, depth - 1)
            .or_else(|error| match spec {
                "" => Ok(String::new()),
                _ => Err(error),
            })?;
        brace_value(state, &spec, &value)
    }

    /// The value that `name.attribute[item]` names.
    fn value(&mut self, head: &str) -> Result<Value, Error> {
        let name_len = head.find(['.', '[']).unwrap_or(head.len());
        let (name, mut path) = head.split_at(name_len);
        let missing = || failure(format!("the format wants `{name}`"));
        let mut value = if name.is_empty() {
            let index = self
                .next
                .ok_or_else(|| failure("fields with and without numbers"))?;
            self.next = Some(index + 1);
            self.positional.get(index).cloned().ok_or_else(missing)?
        } else if let Ok(index) = name.parse::<usize>() {
            if self.next.is_some_and(|next| next > 0) {
                return Err(failure("fields with and without numbers"));
            }
            self.next = None;
            self.positional.get(index).cloned().ok_or_else(missing)?
        } else {
            let named = self
                .named
                .filter(|named| named.has(name))
                .ok_or_else(missing)?;
            named.get(name)?
        };
        while !path.is_empty() {
            let (key, after) = match path.strip_prefix('[') {
                Some(inner) => inner.split_once(']').ok_or_else(missing)?,
                None => {
                    // Values have no attributes that a template may see here.
                    return Err(failure("a format can't look up attributes"));
                }
            };
            let index = key.parse::<i64>().map(Value::from);
            let found = value.get_item(&index.unwrap_or_else(|_| Value::from(key)))?;
            value = if found.is_undefined() {
                return Err(missing());
            } else {
                found
            };
            path = after;
        }
        Ok(value)
    }
}

/// The byte offset of the brace that closes a field; `text` begins after its opening brace.
fn end_of_field(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn brace_spec(text: &str) -> Result<Spec, Error> {
    let mut spec = Spec::default();
    let mut rest = text;
    let is_align = |c: char| matches!(c, '<' | '>' | '^' | '=');
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (Some(fill), Some(align)) if is_align(align) => {
            spec.fill = Some(fill);
            spec.align = Some(align);
            rest = chars.as_str();
        }
        (Some(align), _) if is_align(align) => {
            spec.align = Some(align);
            rest = &rest[1..];
        }
        _ => {}
    }
    if let Some(sign) = rest.chars().next().filter(|c| matches!(c, '+' | '-' | ' ')) {
        spec.sign = Some(sign);
        rest = &rest[1..];
    }
    if let Some(after) = rest.strip_prefix('#') {
        spec.alternate = true;
        rest = after;
    }
    if let Some(after) = rest.strip_prefix('0') {
        spec.zero = true;
        rest = after;
    }
    spec.width = limited(digits(&mut rest)?.unwrap_or_default().unsigned_abs())?;
    if let Some(separator) = rest.chars().next().filter(|c| matches!(c, ',' | '_')) {
        spec.grouping = Some(separator);
        rest = &rest[1..];
    }
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        let precision = digits(&mut rest)?.ok_or_else(|| failure("a format lacks a precision"))?;
        spec.precision = Some(limited(precision.unsigned_abs())?);
    }
    let mut chars = rest.chars();
    spec.kind = chars.next();
    match chars.next() {
        None => Ok(spec),
        Some(_) => Err(failure(format!("`{text}` is not a format"))),
    }
}

fn brace_value(state: &State, format: &str, value: &Value) -> Result<String, Error> {
    if format.is_empty() {
        return python::text(state, value);
    }
    let mut spec = brace_spec(format)?;
    let bad = || failure(format!("`{format}` can't format a {}", type_name(value)));
    if let Some(text) = value.as_str() {
        let fits =
            matches!(spec.kind, None | Some('s')) && spec.sign.is_none() && spec.align != Some('=');
        if !fits || spec.grouping.is_some() {
            return Err(bad());
        }
        if spec.zero {
            spec.fill = spec.fill.or(Some('0'));
        }
        let text = match spec.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        };
        return Ok(pad(&spec, "", &text, ' '));
    }
    match (integer(value), spec.kind) {
        (Some(number), None | Some('d' | 'x' | 'X' | 'o' | 'b' | 'n')) => {
            if spec.precision.is_some() {
                return Err(bad());
            }
            number_text(&spec, number, None)
        }
        (Some(code), Some('c')) => {
            let c = u32::try_from(code)
                .ok()
                .and_then(char::from_u32)
                .ok_or_else(bad)?;
            Ok(pad(&spec, "", &c.to_string(), ' '))
        }
        (_, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) => {
            float_text(&spec, python::float(value).ok_or_else(bad)?)
        }
        (None, None) => {
            let number = python::float(value).ok_or_else(bad)?;
            if let Some(precision) = spec.precision {
                spec.kind = Some('g');
                spec.precision = Some(precision);
                return float_text(&spec, number);
            }
            let text = python::float_text(number.abs());
            Ok(pad_number(
                &spec,
                &sign(&spec, number.is_sign_negative()),
                &text,
            ))
        }
        _ => Err(bad()),
    }
}

//! Filters whose meaning differs between jinja2 and minijinja, or that minijinja lacks.
//! Filters that jinja2 does not have are removed.

use std::cmp::Ordering;

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, State};

use super::arguments::Arguments;
use super::guard::{Limits, MAX_TEXT_BYTES, failure};
use super::objects::Group;
use super::operators::{self, tuple};
use super::python::{self, type_name};
use super::{format, methods};

/// Longest line of `pprint`, in characters.
const PRINTED_LINE: usize = 80;

/// One call of a filter.
struct Call<'c, 's, 'e> {
    limits: Limits,
    state: &'c State<'s, 'e>,
    value: Value,
    arguments: Arguments,
}

type Filter = fn(&mut Call) -> Result<Value, Error>;

const FILTERS: [(&str, Filter); 31] = [
    ("abs", abs),
    ("attr", attr),
    ("batch", batch),
    ("capitalize", |call| text_of(call, methods::capitalized)),
    ("center", center),
    ("d", default),
    ("default", default),
    ("dictsort", dictsort),
    ("e", escape),
    ("escape", escape),
    ("float", float),
    ("forceescape", |call| {
        escaped(&call.text()?).map(Value::from_safe_string)
    }),
    ("format", formatted),
    ("groupby", groupby),
    ("indent", indent),
    ("int", int),
    ("join", join),
    ("lower", |call| text_of(call, str::to_lowercase)),
    ("max", |call| extreme(call, Ordering::is_gt)),
    ("min", |call| extreme(call, Ordering::is_lt)),
    ("pprint", pprint),
    ("replace", replace),
    ("slice", slice),
    ("sort", sort),
    ("string", |call| text_of(call, str::to_owned)),
    ("sum", sum),
    ("trim", trim),
    ("truncate", truncate),
    ("unique", unique),
    ("upper", |call| text_of(call, str::to_uppercase)),
    ("wordcount", wordcount),
];
const NOT_JINJAS: [&str; 5] = ["bool", "chain", "lines", "split", "zip"];

pub(super) fn install(limits: Limits, env: &mut Environment) {
    for (name, filter) in FILTERS {
        env.add_filter(
            name,
            move |state: &State, value: Value, positional: Rest<Value>, named: Kwargs| {
                let mut given = positional.to_vec();
                given.push(Value::from(named));
                let mut call = Call {
                    limits,
                    state,
                    value,
                    arguments: Arguments::new(&given),
                };
                let made = filter(&mut call)?;
                call.arguments.finish()?;
                check_text(made.as_str().map_or(0, str::len))?;
                Ok(made)
            },
        );
    }
    NOT_JINJAS
        .into_iter()
        .for_each(|name| env.remove_filter(name));
}

impl Call<'_, '_, '_> {
    fn text(&self) -> Result<String, Error> {
        python::text(self.state, &self.value)
    }

    /// The items of the value, which must not be None.
    fn items(&self) -> Result<Vec<Value>, Error> {
        let bytes = self.limits.bytes_of(&self.value);
        self.state.consume_fuel(bytes as u64 / 64)?;
        python::items(&self.value)
    }
}

fn text_of(call: &mut Call, change: fn(&str) -> String) -> Result<Value, Error> {
    Ok(Value::from(change(&call.text()?)))
}

fn default(call: &mut Call) -> Result<Value, Error> {
    let other = call
        .arguments
        .take("default_value")
        .unwrap_or(Value::from(""));
    let falsy_too = call.arguments.is_true("boolean");
    let replaced = call.value.is_undefined() || falsy_too && !call.value.is_true();
    Ok(if replaced { other } else { call.value.clone() })
}

fn abs(call: &mut Call) -> Result<Value, Error> {
    if let Some(number) = python::integer(&call.value) {
        return Ok(python::from_integer(number.saturating_abs()));
    }
    match python::float(&call.value) {
        Some(number) => Ok(Value::from(number.abs())),
        None => Err(failure(format!("a {} has no sign", type_name(&call.value)))),
    }
}

/// An attribute, never an item.
fn attr(call: &mut Call) -> Result<Value, Error> {
    let name = call.arguments.need_text("name")?;
    if call.value.is_undefined() {
        return Err(failure("an undefined value has no attributes"));
    }
    Ok(
        match python::is_dict(&call.value) && !methods::has(&call.value, &name) {
            true => Value::UNDEFINED,
            false => operators::method_or_attribute(call.limits, call.value.clone(), name)?,
        },
    )
}

fn int(call: &mut Call) -> Result<Value, Error> {
    let default = call.arguments.take("default").unwrap_or(Value::from(0));
    let base = call.arguments.integer("base")?.unwrap_or(10);
    if call.value.is_undefined() {
        return Err(failure("an undefined value is not a number"));
    }
    let Some(text) = call.value.as_str() else {
        let whole = python::integer(&call.value);
        let cut = python::float(&call.value).filter(|float| float.is_finite());
        let number = whole.or(cut.map(|float| float.trunc() as i128));
        return Ok(number.map_or(default, python::from_integer));
    };
    let whole = integer_of(text, base).map(python::from_integer);
    let cut = || float_of(text).filter(|float| float.is_finite());
    let cut = whole.is_none().then(cut).flatten();
    let cut = cut.map(|float| python::from_integer(float.trunc() as i128));
    Ok(whole.or(cut).unwrap_or(default))
}

/// `int(text, base)`.
fn integer_of(text: &str, base: i64) -> Option<i128> {
    let text = text.trim_matches(python::is_space);
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (&text[..1], digits),
        None => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let radix = |prefix: &str| match prefix {
        "0x" => Some(16),
        "0o" => Some(8),
        "0b" => Some(2),
        _ => None,
    };
    let prefixed = lower.get(..2).and_then(radix);
    let (digits, base) = match (prefixed, base) {
        (Some(radix), 0) => (&lower[2..], radix),
        (Some(radix), base) if radix == base => (&lower[2..], base),
        (None, 0) => (&lower[..], 10),
        _ => (&lower[..], base),
    };
    let grouped = digits.split('_').all(|group| !group.is_empty());
    let base = u32::try_from(base)
        .ok()
        .filter(|base| (2..=36).contains(base) && grouped)?;
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i128::from_str_radix(&(sign.to_owned() + &digits.replace('_', "")), base).ok()
}

/// `float(text)`.
fn float_of(text: &str) -> Option<f64> {
    let text = text.trim_matches(python::is_space);
    let grouped = text.split('_').all(|group| !group.is_empty());
    let plain = text.replace('_', "");
    plain.parse().ok().filter(|_| grouped)
}

fn float(call: &mut Call) -> Result<Value, Error> {
    let default = call.arguments.take("default").unwrap_or(Value::from(0.0));
    if call.value.is_undefined() {
        return Err(failure("an undefined value is not a number"));
    }
    let number = match call.value.as_str() {
        Some(text) => float_of(text),
        None => python::float(&call.value),
    };
    Ok(number.map_or(default, Value::from))
}

fn formatted(call: &mut Call) -> Result<Value, Error> {
    let (positional, named) = call.arguments.rest();
    let pairs = named.iter().flat_map(|named| {
        let names: Vec<String> = named.args().map(str::to_owned).collect();
        names
            .into_iter()
            .filter_map(|name| Some((name.clone(), named.get::<Value>(&name).ok()?)))
    });
    let named: Vec<(String, Value)> = pairs.collect();
    let values = match (positional.is_empty(), named.is_empty()) {
        (false, false) => return Err(failure("a format has values with and without names")),
        (true, false) => Value::from_pairs(named),
        _ => tuple(positional),
    };
    let text = format::percent(call.state, &call.text()?, &values)?;
    Ok(Value::from(text))
}

fn escape(call: &mut Call) -> Result<Value, Error> {
    match call.value.is_safe() {
        true => Ok(call.value.clone()),
        false => escaped(&call.text()?).map(Value::from_safe_string),
    }
}

/// The text with HTML's special characters escaped, as by `markupsafe`.
pub(super) fn escaped(text: &str) -> Result<String, Error> {
    let marks = text.matches(['&', '<', '>', '\'', '"']).count();
    check_text(text.len().saturating_add(marks * 5))?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn check_text(bytes: usize) -> Result<(), Error> {
    match bytes {
        0..=MAX_TEXT_BYTES => Ok(()),
        _ => Err(failure(format!("a filter would make {bytes} bytes"))),
    }
}

fn trim(call: &mut Call) -> Result<Value, Error> {
    let chars = call.arguments.text_or_none("chars")?;
    let text = call.text()?;
    let goes = |c: char| match &chars {
        Some(chars) => chars.contains(c),
        None => python::is_space(c),
    };
    Ok(Value::from(text.trim_matches(goes)))
}

fn replace(call: &mut Call) -> Result<Value, Error> {
    let old = call.arguments.need("old")?;
    let new = call.arguments.need("new")?;
    let count = call
        .arguments
        .take("count")
        .filter(|count| !count.is_none());
    let count = count.and_then(|count| python::integer(&count));
    let count = count.and_then(|count| usize::try_from(count).ok());
    let (old, new) = (
        python::text(call.state, &old)?,
        python::text(call.state, &new)?,
    );
    methods::replaced(&call.text()?, &old, &new, count).map(Value::from)
}

fn center(call: &mut Call) -> Result<Value, Error> {
    let width = call.arguments.integer("width")?.unwrap_or(80);
    methods::justified(&call.text()?, "center", width, " ").map(Value::from)
}

fn wordcount(call: &mut Call) -> Result<Value, Error> {
    let text = call.text()?;
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    Ok(Value::from(words.filter(|word| !word.is_empty()).count()))
}

fn truncate(call: &mut Call) -> Result<Value, Error> {
    let length = call.arguments.integer("length")?.unwrap_or(255);
    let kills_words = call.arguments.is_true("killwords");
    let end = call
        .arguments
        .text("end")?
        .unwrap_or_else(|| "...".to_owned());
    let leeway = call.arguments.integer("leeway")?.unwrap_or(5);
    let text = call.text()?;
    let (count, end_count) = (text.chars().count() as i64, end.chars().count() as i64);
    if length < end_count || leeway < 0 {
        return Err(failure("the length of `truncate` is too small"));
    }
    if count <= length.saturating_add(leeway) {
        return Ok(Value::from(text));
    }
    let kept: String = text.chars().take((length - end_count) as usize).collect();
    let kept = match kept.rsplit_once(' ') {
        Some((words, _)) if !kills_words => words,
        _ => &kept,
    };
    Ok(Value::from(kept.to_owned() + &end))
}

fn indent(call: &mut Call) -> Result<Value, Error> {
    let width = call.arguments.take("width").unwrap_or(Value::from(4));
    let first = call.arguments.is_true("first");
    let blank = call.arguments.is_true("blank");
    let margin = match (width.as_str(), python::integer(&width)) {
        (Some(text), _) => text.to_owned(),
        (None, Some(count)) => {
            let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
            check_text(count)?;
            " ".repeat(count)
        }
        _ => return Err(failure(format!("`width` can't be a {}", type_name(&width)))),
    };
    // The line break that is added keeps a last empty line in the count.
    let text = call.text()? + "\n";
    check_text(text.matches(python::is_break).count().saturating_mul(16))?;
    let lines = python::lines(&text);
    check_text(
        margin
            .len()
            .saturating_mul(lines.len())
            .saturating_add(text.len()),
    )?;
    let mut out = String::new();
    for (index, line) in lines.into_iter().map(python::without_break).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let indented = if index == 0 {
            first
        } else {
            blank || !line.is_empty()
        };
        if indented {
            out.push_str(&margin);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

fn join(call: &mut Call) -> Result<Value, Error> {
    let separator = call.arguments.take("d");
    let separator =
        separator.map_or(Ok(String::new()), |value| python::text(call.state, &value))?;
    let path = call.arguments.take("attribute");
    let mut out = String::new();
    for (index, item) in call.items()?.into_iter().enumerate() {
        let item = match &path {
            Some(path) => attribute(&item, path)?,
            None => item,
        };
        if index > 0 {
            out.push_str(&separator);
        }
        out.push_str(&python::text(call.state, &item)?);
        check_text(out.len())?;
    }
    Ok(Value::from(out))
}

/// `item.a.b` for the path `a.b`, whose parts may be numbers.
pub(super) fn attribute(item: &Value, path: &Value) -> Result<Value, Error> {
    let Some(path) = path.as_str() else {
        return item.get_item(path);
    };
    path.split('.').try_fold(item.clone(), |value, part| {
        if value.is_undefined() {
            return Err(failure(format!("there is no `{path}` in an item")));
        }
        match part.parse::<usize>() {
            Ok(index) => value.get_item(&Value::from(index)),
            Err(_) => value.get_item(&Value::from(part)),
        }
    })
}

/// As [`attribute`], with `default` in place of an attribute that the item does not have.
pub(super) fn attribute_or(
    item: &Value,
    path: &Value,
    default: Option<&Value>,
) -> Result<Value, Error> {
    match (attribute(item, path), default) {
        (Err(_), Some(default)) => Ok(default.clone()),
        (Ok(value), Some(default)) if value.is_undefined() => Ok(default.clone()),
        (value, _) => value,
    }
}

/// A text without its case, other values as they are.
fn caseless(value: Value) -> Value {
    match value.as_str() {
        Some(text) => Value::from(text.to_lowercase()),
        None => value,
    }
}

/// What items are ordered by.
struct Keys {
    paths: Vec<Value>,
    case_sensitive: bool,
}

impl Keys {
    fn new(path: Option<Value>, case_sensitive: bool) -> Keys {
        let path = path.filter(|path| !path.is_none());
        let paths = match path.as_ref().and_then(Value::as_str) {
            Some(text) => text.split(',').map(Value::from).collect(),
            None => path.into_iter().collect(),
        };
        Keys {
            paths,
            case_sensitive,
        }
    }

    fn of(&self, item: &Value) -> Result<Vec<Value>, Error> {
        let fold = |value| {
            if self.case_sensitive {
                value
            } else {
                caseless(value)
            }
        };
        if self.paths.is_empty() {
            return Ok(vec![fold(item.clone())]);
        }
        let keys = self
            .paths
            .iter()
            .map(|path| Ok(fold(attribute(item, path)?)));
        keys.collect()
    }
}

fn order_of_keys(a: &[Value], b: &[Value]) -> Result<Ordering, Error> {
    for (a, b) in a.iter().zip(b) {
        if a != b {
            return Ok(python::order(a, b)?.unwrap_or(Ordering::Equal));
        }
    }
    Ok(Ordering::Equal)
}

/// Sorts pairs of keys and items; the first error of a comparison wins.
fn sorted(
    state: &State,
    mut pairs: Vec<(Vec<Value>, Value)>,
    reverse: bool,
) -> Result<Vec<(Vec<Value>, Value)>, Error> {
    let steps = pairs.len() as u64 * u64::from(pairs.len().max(1).ilog2() + 1);
    state.consume_fuel(steps)?;
    let mut error = None;
    pairs.sort_by(|(a, _), (b, _)| {
        let order = order_of_keys(a, b).unwrap_or_else(|e| {
            error.get_or_insert(e);
            Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    match error {
        Some(error) => Err(error),
        None => Ok(pairs),
    }
}

fn sort(call: &mut Call) -> Result<Value, Error> {
    let reverse = call.arguments.is_true("reverse");
    let case_sensitive = call.arguments.is_true("case_sensitive");
    let keys = Keys::new(call.arguments.take("attribute"), case_sensitive);
    let items = call.items()?.into_iter();
    let pairs = items.map(|item| Ok((keys.of(&item)?, item)));
    let sorted = sorted(call.state, pairs.collect::<Result<_, Error>>()?, reverse)?;
    Ok(sorted.into_iter().map(|(_, item)| item).collect())
}

fn dictsort(call: &mut Call) -> Result<Value, Error> {
    let case_sensitive = call.arguments.is_true("case_sensitive");
    let by = call
        .arguments
        .text("by")?
        .unwrap_or_else(|| "key".to_owned());
    let reverse = call.arguments.is_true("reverse");
    let by = match by.as_str() {
        "key" => 0,
        "value" => 1,
        _ => return Err(failure("`by` must be \"key\" or \"value\"")),
    };
    if !python::is_dict(&call.value) {
        return Err(failure(format!("a {} has no keys", type_name(&call.value))));
    }
    let keys = Keys::new(Some(Value::from(by)), case_sensitive);
    let pairs = python::pairs(&call.value)
        .into_iter()
        .map(|(key, value)| tuple(vec![key, value]));
    let pairs = pairs.map(|pair| Ok((keys.of(&pair)?, pair)));
    let sorted = sorted(call.state, pairs.collect::<Result<_, Error>>()?, reverse)?;
    Ok(sorted.into_iter().map(|(_, pair)| pair).collect())
}

fn unique(call: &mut Call) -> Result<Value, Error> {
    let case_sensitive = call.arguments.is_true("case_sensitive");
    let keys = Keys::new(call.arguments.take("attribute"), case_sensitive);
    let mut kept: Vec<(Vec<Value>, Value)> = Vec::new();
    for item in call.items()? {
        let key = keys.of(&item)?;
        key.iter().try_for_each(python::check_hashable)?;
        call.state.consume_fuel(kept.len() as u64)?;
        if !kept.iter().any(|(seen, _)| *seen == key) {
            kept.push((key, item));
        }
    }
    Ok(kept.into_iter().map(|(_, item)| item).collect())
}

fn groupby(call: &mut Call) -> Result<Value, Error> {
    let path = call.arguments.need("attribute")?;
    let default = call.arguments.take("default");
    let case_sensitive = call.arguments.is_true("case_sensitive");
    let mut pairs = Vec::new();
    for item in call.items()? {
        let key = attribute_or(&item, &path, default.as_ref())?;
        let folded = if case_sensitive {
            key.clone()
        } else {
            caseless(key.clone())
        };
        pairs.push((vec![folded], tuple(vec![key, item])));
    }
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for (folded, pair) in sorted(call.state, pairs, false)? {
        let (key, item) = (pair.get_item_by_index(0)?, pair.get_item_by_index(1)?);
        match groups.last_mut() {
            Some((last, _, items)) if *last == folded[0] => items.push(item),
            _ => groups.push((folded[0].clone(), key, vec![item])),
        }
    }
    let groups = groups.into_iter().map(|(_, grouper, items)| {
        let list = call.limits.settle(call.state, Value::from(items), true)?;
        Ok(Value::from_object(Group { grouper, list }))
    });
    Ok(Value::from(groups.collect::<Result<Vec<_>, Error>>()?))
}

fn extreme(call: &mut Call, wins: fn(Ordering) -> bool) -> Result<Value, Error> {
    let case_sensitive = call.arguments.is_true("case_sensitive");
    let keys = Keys::new(call.arguments.take("attribute"), case_sensitive);
    let mut best: Option<(Vec<Value>, Value)> = None;
    for item in call.items()? {
        let key = keys.of(&item)?;
        let better = match &best {
            Some((known, _)) => wins(order_of_keys(&key, known)?),
            None => true,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |(_, item)| item))
}

fn sum(call: &mut Call) -> Result<Value, Error> {
    let path = call
        .arguments
        .take("attribute")
        .filter(|path| !path.is_none());
    let start = call.arguments.take("start").unwrap_or(Value::from(0));
    if start.as_str().is_some() {
        return Err(failure("texts have no sum"));
    }
    let mut sum = start;
    for item in call.items()? {
        let item = match &path {
            Some(path) => attribute(&item, path)?,
            None => item,
        };
        sum = operators::add(call.limits, call.state, &sum, &item)?;
    }
    Ok(sum)
}

fn batch(call: &mut Call) -> Result<Value, Error> {
    let size = call.arguments.integer("linecount")?;
    let size = size.ok_or_else(|| failure("`linecount` is missing"))?;
    let fill = call
        .arguments
        .take("fill_with")
        .filter(|fill| !fill.is_none());
    let size = usize::try_from(size).ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| failure("`linecount` must be at least 1"))?;
    let items = call.items()?;
    let missing = items.len().next_multiple_of(size) - items.len();
    let bytes = missing.saturating_mul(16);
    if fill.is_some() && bytes > call.limits.tree_bytes {
        return Err(failure("a list or map is too large"));
    }
    let fill = fill
        .into_iter()
        .flat_map(|fill| std::iter::repeat_n(fill, missing));
    let items: Vec<Value> = items.into_iter().chain(fill).collect();
    Ok(items
        .chunks(size)
        .map(|row| Value::from(row.to_vec()))
        .collect())
}

fn slice(call: &mut Call) -> Result<Value, Error> {
    let count = call.arguments.integer("slices")?;
    let count = count.ok_or_else(|| failure("`slices` is missing"))?;
    let fill = call
        .arguments
        .take("fill_with")
        .filter(|fill| !fill.is_none());
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (1..=100_000).contains(count));
    let count = count.ok_or_else(|| failure("`slices` must be from 1 to 100,000"))?;
    call.state.consume_fuel(count as u64)?;
    let items = call.items()?;
    let (per_slice, extra) = (items.len() / count, items.len() % count);
    let mut rest = items.into_iter();
    let slices = (0..count).map(|index| {
        let len = per_slice + usize::from(index < extra);
        let mut slice: Vec<Value> = rest.by_ref().take(len).collect();
        if index >= extra {
            slice.extend(fill.clone());
        }
        Value::from(slice)
    });
    Ok(slices.collect())
}

fn pprint(call: &mut Call) -> Result<Value, Error> {
    let printed = python::repr(call.state, &call.value)?;
    match printed.chars().count() {
        0..=PRINTED_LINE => Ok(Value::from(printed)),
        _ => Err(failure("`pprint` of more than a line is not supported")),
    }
}

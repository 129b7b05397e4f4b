//! Operators whose meaning differs between Python and minijinja. `expression` writes
//! them as filters.

use std::cmp::Ordering;

use minijinja::value::{Rest, Value};
use minijinja::{Environment, Error, State};

use super::guard::{Limits, MAX_TEXT_BYTES, failure};
use super::objects::{Method, Range};
use super::python::{self, integer, is_dict, is_sequence, is_tuple, type_name};
use super::{filters, format, methods};

pub(super) const COMPARE: &str = "ondol_compare";
pub(super) const CONCAT: &str = "ondol_concat";
pub(super) const ADD: &str = "ondol_add";
pub(super) const SUBTRACT: &str = "ondol_sub";
pub(super) const MULTIPLY: &str = "ondol_mul";
pub(super) const REMAINDER: &str = "ondol_mod";
pub(super) const NEGATE: &str = "ondol_neg";
pub(super) const PLUS: &str = "ondol_pos";
pub(super) const KEY: &str = "ondol_key";
pub(super) const SLICE: &str = "ondol_slice";
pub(super) const METHOD: &str = "ondol_method";
/// Applied to what a loop iterates over; fails where Python can't iterate.
pub(super) const ITERATE: &str = "ondol_iterate";
/// Applied to a value that is unpacked into several names.
pub(super) const UNPACK: &str = "ondol_unpack";
/// `loop.cycle`; fails without arguments, where minijinja would divide by zero.
pub(super) const CYCLE: &str = "ondol_cycle";

/// Bytes that a step pays for.
const BYTES_PER_FUEL: usize = 64;

pub(super) fn install(limits: Limits, env: &mut Environment) {
    env.add_filter(
        COMPARE,
        move |state: &State, value: Value, rest: Rest<Value>| compare(limits, state, value, &rest),
    );
    env.add_filter(CONCAT, |state: &State, value: Value, rest: Rest<Value>| {
        concat(state, &value, &rest)
    });
    env.add_filter(ADD, move |state: &State, a: Value, b: Value| {
        add(limits, state, &a, &b)
    });
    env.add_filter(SUBTRACT, |a: Value, b: Value| subtract(&a, &b));
    env.add_filter(MULTIPLY, move |state: &State, a: Value, b: Value| {
        let product = multiply(limits, state, &a, &b)?;
        limits.settle(state, product, true)
    });
    env.add_filter(REMAINDER, |state: &State, a: Value, b: Value| {
        remainder(state, &a, &b)
    });
    env.add_filter(NEGATE, |value: Value| negate(&value));
    env.add_filter(PLUS, |value: Value| match python::float(&value) {
        Some(_) => Ok(integer(&value).map_or(value, python::from_integer)),
        None => Err(failure(format!("a {} has no sign", type_name(&value)))),
    });
    env.add_filter(KEY, |value: Value| {
        python::check_hashable(&value).map(|()| value)
    });
    env.add_filter(
        SLICE,
        move |state: &State, value: Value, parts: Rest<Value>| {
            let part = slice(state, &value, &parts)?;
            limits.settle(state, part, true)
        },
    );
    env.add_filter(ITERATE, |value: Value| match python::is_iterable(&value) {
        true => Ok(value),
        false => Err(failure(format!(
            "a {} can't be iterated",
            type_name(&value)
        ))),
    });
    env.add_filter(UNPACK, |value: Value| match value.as_str() {
        Some(_) => python::items(&value).map(tuple),
        None => Ok(value),
    });
    env.add_filter(METHOD, move |value: Value, name: String| {
        method_or_attribute(limits, value, name)
    });
    env.add_filter(
        CYCLE,
        |state: &mut State, value: Value, rest: Rest<Value>| match rest.is_empty() {
            true => Err(failure("`cycle` needs an argument")),
            false => value.call_method(state, "cycle", &rest),
        },
    );
}

/// The method of this name, or else the attribute.
pub(super) fn method_or_attribute(
    limits: Limits,
    value: Value,
    name: String,
) -> Result<Value, Error> {
    if methods::has(&value, &name) {
        return Ok(Value::from_object(Method {
            limits,
            value,
            name,
        }));
    }
    value.get_attr(&name)
}

/// A chain of comparisons: `rest` holds signs and operands in turn.
pub(super) fn compare(
    limits: Limits,
    state: &State,
    first: Value,
    rest: &[Value],
) -> Result<Value, Error> {
    let mut left = first;
    for pair in rest.chunks_exact(2) {
        let right = &pair[1];
        let bytes = limits
            .bytes_of(&left)
            .saturating_add(limits.bytes_of(right));
        state.consume_fuel((bytes / BYTES_PER_FUEL) as u64)?;
        let holds = match pair[0].as_str().unwrap_or_default() {
            "==" => left == *right,
            "!=" => left != *right,
            "<" => ordered(&left, right, Ordering::is_lt)?,
            "<=" => ordered(&left, right, Ordering::is_le)?,
            ">" => ordered(&left, right, Ordering::is_gt)?,
            ">=" => ordered(&left, right, Ordering::is_ge)?,
            "in" => contains(right, &left)?,
            _ => !contains(right, &left)?,
        };
        if !holds {
            return Ok(Value::from(false));
        }
        left = right.clone();
    }
    Ok(Value::from(true))
}

fn ordered(a: &Value, b: &Value, holds: fn(Ordering) -> bool) -> Result<bool, Error> {
    Ok(python::order(a, b)?.is_some_and(holds))
}

/// `item in container`.
fn contains(container: &Value, item: &Value) -> Result<bool, Error> {
    if container.is_undefined() {
        return Ok(false);
    }
    if let Some(text) = container.as_str() {
        return match item.as_str() {
            Some(item) => Ok(text.contains(item)),
            None => Err(failure(format!("a {} can't be in a text", type_name(item)))),
        };
    }
    if is_dict(container) {
        python::check_hashable(item)?;
        let object = container.as_object();
        return Ok(object.is_some_and(|object| object.get_value(item).is_some()));
    }
    if is_sequence(container) {
        return Ok(container.try_iter()?.any(|own| own == *item));
    }
    Err(failure(format!(
        "nothing can be in a {}",
        type_name(container)
    )))
}

fn concat(state: &State, first: &Value, rest: &[Value]) -> Result<Value, Error> {
    let mut text = python::text(state, first)?;
    for value in rest {
        text += &python::text(state, value)?;
        if text.len() > MAX_TEXT_BYTES {
            return Err(failure(format!(
                "`~` would make more than {MAX_TEXT_BYTES} bytes"
            )));
        }
    }
    Ok(Value::from(text))
}

/// `a + b`. A text that `safe` marks escapes what is added to it.
pub(super) fn add(limits: Limits, state: &State, a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(left), Some(right)) = (a.as_str(), b.as_str()) {
        if left.len() + right.len() > MAX_TEXT_BYTES {
            return Err(failure(format!(
                "`+` would make more than {MAX_TEXT_BYTES} bytes"
            )));
        }
        return Ok(match (a.is_safe(), b.is_safe()) {
            (false, false) => Value::from([left, right].concat()),
            (true, false) => Value::from_safe_string(left.to_owned() + &filters::escaped(right)?),
            (false, true) => Value::from_safe_string(filters::escaped(left)? + right),
            (true, true) => Value::from_safe_string([left, right].concat()),
        });
    }
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        let sum = a
            .checked_add(b)
            .ok_or_else(|| failure("a sum is too large"))?;
        return Ok(python::from_integer(sum));
    }
    if let (Some(a), Some(b)) = (python::float(a), python::float(b)) {
        return Ok(Value::from(a + b));
    }
    let lists = type_name(a) == type_name(b) && matches!(type_name(a), "list" | "tuple");
    if !lists {
        return Err(no_operands("added", a, b));
    }
    let items = [python::items(a)?, python::items(b)?].concat();
    state.consume_fuel(items.len() as u64 / 4)?;
    let list = if is_tuple(a) {
        tuple(items)
    } else {
        Value::from(items)
    };
    limits.settle(state, list, true)
}

fn subtract(a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        let difference = a.checked_sub(b);
        let difference = difference.ok_or_else(|| failure("a difference is too large"))?;
        return Ok(python::from_integer(difference));
    }
    match (python::float(a), python::float(b)) {
        (Some(a), Some(b)) => Ok(Value::from(a - b)),
        _ => Err(no_operands("subtracted", a, b)),
    }
}

fn no_operands(what: &str, a: &Value, b: &Value) -> Error {
    let (a, b) = (type_name(a), type_name(b));
    failure(format!("values of the types {a} and {b} can't be {what}"))
}

fn multiply(limits: Limits, state: &State, a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return match a.checked_mul(b) {
            Some(product) => Ok(python::from_integer(product)),
            None => Err(failure("a product is too large")),
        };
    }
    if let (Some(a), Some(b)) = (python::float(a), python::float(b)) {
        return Ok(Value::from(a * b));
    }
    let (value, times) = if integer(b).is_some() { (a, b) } else { (b, a) };
    let times = integer(times).map(|times| usize::try_from(times.max(0)).unwrap_or(usize::MAX));
    let Some(times) = times.filter(|_| value.as_str().is_some() || is_sequence(value)) else {
        return Err(no_operands("multiplied", a, b));
    };
    let bytes = limits.bytes_of(value).saturating_mul(times);
    if let Some(text) = value.as_str() {
        let bytes = text.len().saturating_mul(times);
        if bytes > MAX_TEXT_BYTES {
            return Err(failure(format!("a text of {bytes} bytes is too large")));
        }
        return Ok(Value::from(text.repeat(times)));
    }
    if bytes > limits.tree_bytes {
        return Err(failure("a list or map is too large"));
    }
    state.consume_fuel((bytes / BYTES_PER_FUEL) as u64)?;
    let items = python::items(value)?;
    let repeated: Vec<Value> = (0..times).flat_map(|_| items.iter().cloned()).collect();
    Ok(if is_tuple(value) {
        tuple(repeated)
    } else {
        Value::from(repeated)
    })
}

pub(super) fn tuple(items: Vec<Value>) -> Value {
    Value::from(minijinja::value::Tuple::from(items))
}

fn remainder(state: &State, a: &Value, b: &Value) -> Result<Value, Error> {
    if let Some(text) = a.as_str() {
        let text = format::percent(state, text, b)?;
        return Ok(Value::from(text));
    }
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        let Some(rest) = a.checked_rem(b) else {
            return Err(failure("a division by zero"));
        };
        let fix = rest != 0 && (rest < 0) != (b < 0);
        return Ok(python::from_integer(if fix { rest + b } else { rest }));
    }
    let (Some(x), Some(y)) = (python::float(a), python::float(b)) else {
        return Err(no_operands("divided", a, b));
    };
    if y == 0.0 {
        return Err(failure("a division by zero"));
    }
    let rest = x % y;
    let fix = rest != 0.0 && (rest < 0.0) != (y < 0.0);
    Ok(Value::from(if fix { rest + y } else { rest }))
}

fn negate(value: &Value) -> Result<Value, Error> {
    if let Some(number) = integer(value) {
        return Ok(python::from_integer(-number.max(-i128::MAX)));
    }
    match python::float(value) {
        Some(number) => Ok(Value::from(-number)),
        None => Err(failure(format!("a {} has no sign", type_name(value)))),
    }
}

/// `value[start:stop:step]`. As in jinja2, what has no slices has an undefined one.
fn slice(state: &State, value: &Value, parts: &[Value]) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(failure("an undefined value has no slices"));
    }
    let mut bounds = [None; 3];
    for (bound, part) in bounds.iter_mut().zip(parts) {
        if part.is_none() {
            continue;
        }
        let sliceable = value.as_str().is_some() || is_sequence(value);
        let Some(number) = integer(part) else {
            return match sliceable {
                true => Err(failure(format!(
                    "a {} can't bound a slice",
                    type_name(part)
                ))),
                false => Ok(Value::UNDEFINED),
            };
        };
        let clamped = number.clamp(i128::from(i64::MIN + 1), i128::from(i64::MAX));
        *bound = i64::try_from(clamped).ok();
    }
    if bounds[2] == Some(0) {
        return Err(failure("the step of a slice can't be 0"));
    }
    if let Some(text) = value.as_str() {
        state.consume_fuel((text.len() / BYTES_PER_FUEL) as u64)?;
        let chars: Vec<char> = text.chars().collect();
        let picked = picked(chars.len(), bounds).map(|at| chars[at]);
        return Ok(Value::from(picked.collect::<String>()));
    }
    if let Some(range) = value.downcast_object_ref::<Range>() {
        return Ok(slice_of_range(range, bounds));
    }
    if !is_sequence(value) {
        return Ok(Value::UNDEFINED);
    }
    let items = python::items(value)?;
    state.consume_fuel(items.len() as u64 / 4)?;
    let picked = picked(items.len(), bounds)
        .map(|at| items[at].clone())
        .collect();
    Ok(if is_tuple(value) {
        tuple(picked)
    } else {
        Value::from(picked)
    })
}

fn slice_of_range(range: &Range, bounds: [Option<i64>; 3]) -> Value {
    let mut indices = picked(range.len(), bounds);
    let count = indices.clone().count() as i64;
    let step = range.step.saturating_mul(bounds[2].unwrap_or(1));
    let first = indices
        .next()
        .map_or(0, |at| range.start + range.step * at as i64);
    Value::from_object(Range {
        start: first,
        stop: first.saturating_add(step.saturating_mul(count)),
        step,
    })
}

/// The indices that a slice takes of `len` items.
fn picked(
    len: usize,
    [start, stop, step]: [Option<i64>; 3],
) -> impl Iterator<Item = usize> + Clone {
    let len = len as i64;
    let step = step.unwrap_or(1);
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let bound = |value: Option<i64>, default: i64| match value {
        Some(value) if value < 0 => (value + len).max(low),
        Some(value) => value.min(high),
        None => default,
    };
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    let (start, stop) = (bound(start, first), bound(stop, last));
    let goes_on = move |at: &i64| if step > 0 { *at < stop } else { *at > stop };
    std::iter::successors(Some(start), move |at| at.checked_add(step))
        .take_while(goes_on)
        .map(|at| at as usize)
}

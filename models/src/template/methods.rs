//! Python's methods of strings, lists and dicts.
//!
//! They are those of `minijinja-contrib`, which does not bound what they make:
//! replacing each letter of a megabyte by a megabyte asks for a terabyte. So what
//! a call would make is estimated first.

use minijinja::value::Value;
use minijinja::{Error, State};
use minijinja_contrib::pycompat;

use super::guard::{Limits, MAX_TEXT_BYTES, failure};

/// Most digits in a row in a format string: its widths stay below ten thousand.
const MAX_WIDTH_DIGITS: usize = 4;
/// Bytes of text that one step of the engine scans.
const BYTES_PER_FUEL: usize = 64;

/// Calls `value.method(arguments)`.
pub(super) fn call(
    limits: Limits,
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let value = &limits.settle(state, value.clone(), true)?;
    let arguments: Vec<Value> = arguments
        .iter()
        .map(|a| limits.settle(state, a.clone(), true))
        .collect::<Result<_, _>>()?;
    if let Some(text) = value.as_str() {
        let made = made_bytes(text, method, &arguments)?;
        if made > MAX_TEXT_BYTES {
            return Err(failure(format!("`{method}` would make {made} bytes")));
        }
        state.consume_fuel(((text.len() + made) / BYTES_PER_FUEL) as u64)?;
    }
    pycompat::unknown_method_callback(state, value, method, &arguments)
}

/// Upper bound of the bytes that a method of strings makes.
fn made_bytes(text: &str, method: &str, arguments: &[Value]) -> Result<usize, Error> {
    let argument = |index: usize| arguments.get(index).and_then(Value::as_str);
    Ok(match method {
        "replace" => {
            let (old, new) = (
                argument(0).unwrap_or_default(),
                argument(1).unwrap_or_default(),
            );
            let found = text.matches(old).count();
            found.saturating_mul(new.len()).saturating_add(text.len())
        }
        "split" => {
            let pieces =
                argument(0).map_or(text.len(), |separator| text.matches(separator).count());
            (pieces + 1)
                .saturating_mul(size_of::<Value>())
                .saturating_add(text.len())
        }
        "splitlines" => text
            .matches('\n')
            .count()
            .saturating_mul(size_of::<Value>())
            .saturating_add(text.len()),
        "join" => {
            let items = arguments.first().and_then(Value::len).unwrap_or_default();
            items.saturating_mul(text.len())
        }
        "format" => {
            let mut digits = text.split(|c: char| !c.is_ascii_digit());
            if digits.any(|run| run.len() > MAX_WIDTH_DIGITS) {
                return Err(failure("a width in this format string is too large"));
            }
            text.len()
        }
        // Case mapping makes at most three characters of one.
        _ => text.len().saturating_mul(3),
    })
}

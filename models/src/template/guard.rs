//! The limits of one run, and the checks that keep a template within them.
//!
//! | what | limit |
//! | --- | --- |
//! | source | 256 KiB; 2,000 tokens in a tag; 500 `elif` (see `source`) |
//! | steps | 1,000,000, and 2,000 for each message; one step also pays for 64 bytes |
//! | recursion | 200 levels of macros, loops and blocks |
//! | one list or map | 1 MiB and twice the input, counted as a tree; 100 levels deep |
//! | output, and each text from `tojson` or a method | 16 MiB |
//! | time | none of its own; it follows from the above |
//!
//! A list that occurs twice in another counts twice, because that is what
//! walking it costs. Lists are not multiplied at all: no template needs
//! `[x] * n`, and it makes the largest trees from the fewest steps.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::RenderInput;

/// Filter that passes values within the limits.
pub(super) const GUARD: &str = "ondol_bounded";
/// As [`GUARD`], and refuses namespaces, so that none can hold itself.
pub(super) const GUARD_STORED: &str = "ondol_storable";
/// Filter for operands of `*`: refuses lists and maps.
pub(super) const GUARD_NUMBER: &str = "ondol_scalar";

/// Longest output, and longest text that one filter or method makes, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 16 << 20;
/// Levels of lists and maps in each other.
const MAX_DEPTH: usize = 100;
const BASE_TREE_BYTES: usize = 1 << 20;
/// What a number, a slot of a list or an entry of a map counts, in bytes.
const NODE_BYTES: usize = 16;
const BASE_FUEL: u64 = 1_000_000;
const FUEL_PER_MESSAGE: u64 = 2_000;
/// What minijinja charges a unit of fuel for, in bytes.
const BYTES_PER_FUEL: u64 = 64;
const MAX_RECURSION: usize = 200;

/// The limits that depend on the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Largest list or map, counted as a tree, in bytes.
    pub(super) tree_bytes: usize,
    /// Steps of the engine.
    pub(super) fuel: u64,
}

impl Limits {
    pub(super) fn new(input: &RenderInput, input_bytes: usize) -> Limits {
        Limits {
            tree_bytes: input_bytes
                .saturating_mul(2)
                .saturating_add(BASE_TREE_BYTES),
            fuel: BASE_FUEL + FUEL_PER_MESSAGE * input.messages.len() as u64 + input_bytes as u64,
        }
    }

    /// Adds the limits, and the filters that watch them.
    pub(super) fn install(self, env: &mut Environment) {
        env.set_fuel(Some(self.fuel));
        env.set_recursion_limit(MAX_RECURSION);
        env.add_filter(GUARD, move |state: &State, value: Value| {
            self.settle(state, value, true)
        });
        env.add_filter(GUARD_STORED, move |state: &State, value: Value| {
            self.settle(state, value, false)
        });
        env.add_filter(GUARD_NUMBER, |value: Value| match value.as_object() {
            Some(_) => Err(failure("only numbers and text can be multiplied")),
            None => Ok(value),
        });
        env.set_formatter(move |out, state, value| {
            let value = self.settle(state, value.clone(), true)?;
            minijinja::escape_formatter(out, state, &value)
        });
    }

    /// The value with lazy sequences made into lists. Slices, sums of lists and
    /// the like refer to what they were made from, and a long chain of them
    /// would be walked by recursion.
    ///
    /// Fails where the value is past the limits, or holds a namespace that it may not.
    pub(super) fn settle(
        self,
        state: &State,
        value: Value,
        namespaces: bool,
    ) -> Result<Value, Error> {
        if value.as_object().is_none() {
            return Ok(value);
        }
        let mut walk = Walk {
            left: self.tree_bytes,
            namespaces,
        };
        let settled = walk.settled(&value, 0);
        state.consume_fuel((self.tree_bytes - walk.left) as u64 / BYTES_PER_FUEL)?;
        Ok(settled?.unwrap_or(value))
    }
}

/// One walk over a value as a tree.
struct Walk {
    /// Bytes that may still be counted.
    left: usize,
    /// Whether the value may hold namespaces.
    namespaces: bool,
}

impl Walk {
    /// The settled value, or `None` where it already is.
    fn settled(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        self.count(NODE_BYTES + value.as_str().map_or(0, str::len))?;
        let Some(object) = value.as_object() else {
            return Ok(None);
        };
        if depth >= MAX_DEPTH {
            return Err(failure("lists and maps are nested too deeply"));
        }
        // The engine's type is private; its name is all that tells it from a map.
        let is_namespace = object.type_name().ends_with("::Namespace");
        if is_namespace && !self.namespaces {
            return Err(failure("a namespace can't be stored in a namespace"));
        }
        match value.kind() {
            ValueKind::Map => {
                let pairs = object.try_iter_pairs().into_iter().flatten();
                let (pairs, changed) = self.pairs(pairs, depth)?;
                Ok((changed && !is_namespace).then(|| Value::from_pairs(pairs)))
            }
            kind @ (ValueKind::Seq | ValueKind::Iterable) => {
                let (items, changed) =
                    self.items(object.try_iter().into_iter().flatten(), depth)?;
                Ok((changed || kind == ValueKind::Iterable).then(|| Value::from(items)))
            }
            _ => Ok(None),
        }
    }

    /// The settled items, and whether any of them was not settled before.
    fn items(
        &mut self,
        items: impl Iterator<Item = Value>,
        depth: usize,
    ) -> Result<(Vec<Value>, bool), Error> {
        let mut settled = Vec::new();
        let mut changed = false;
        for item in items {
            let new = self.settled(&item, depth + 1)?;
            changed |= new.is_some();
            settled.push(new.unwrap_or(item));
        }
        Ok((settled, changed))
    }

    fn pairs(
        &mut self,
        pairs: impl Iterator<Item = (Value, Value)>,
        depth: usize,
    ) -> Result<(Vec<(Value, Value)>, bool), Error> {
        let mut settled = Vec::new();
        let mut changed = false;
        for (key, item) in pairs {
            self.settled(&key, depth + 1)?;
            let new = self.settled(&item, depth + 1)?;
            changed |= new.is_some();
            settled.push((key, new.unwrap_or(item)));
        }
        Ok((settled, changed))
    }

    fn count(&mut self, bytes: usize) -> Result<(), Error> {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => return Err(failure("a list or map is too large")),
        }
        Ok(())
    }
}

/// An error with this message.
pub(super) fn failure(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

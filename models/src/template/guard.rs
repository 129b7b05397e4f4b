//! The limits of one run of a template, and the checks that enforce them.
//!
//! | what | limit |
//! | --- | --- |
//! | source | 256 KiB; 2,000 tokens in a tag; 500 `elif` (see `source`) |
//! | steps | 1,000,000, 2,000 a message, and 1 a byte of input; a step also pays for 64 bytes |
//! | recursion | 200 levels of macros, loops and blocks |
//! | one list or map | 1 MiB and twice the input, counted as a tree; 100 levels deep |
//! | output, and each text from `tojson` or a method | 16 MiB |
//! | time | none of its own; it follows from the above |
//!
//! A list that occurs twice in another counts twice, because iterating over it costs
//! twice as much.

use std::sync::Arc;

use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, Tuple, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State};

use super::objects::{self, Range};
use super::{RenderInput, python};

/// Filter that settles a value ([`Limits::settle`]), and fails if it is past the limits.
pub(super) const GUARD: &str = "ondol_bounded";
/// As [`GUARD`], and refuses namespaces, so that none can hold itself.
pub(super) const GUARD_STORED: &str = "ondol_storable";

/// Longest output, and longest text that one filter or method makes, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 16 << 20;
/// Levels of lists and maps in each other.
const MAX_DEPTH: usize = 100;
const BASE_TREE_BYTES: usize = 1 << 20;
/// What a number, a slot of a list or an entry of a map counts, in bytes.
const NODE_BYTES: usize = 16;
const BASE_FUEL: u64 = 1_000_000;
const FUEL_PER_MESSAGE: u64 = 2_000;
/// Bytes for which one step (minijinja's unit of fuel) is charged.
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
    /// `input_bytes` is the size of the variables as a tree.
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
        env.set_formatter(move |out, state, value| {
            if value.is_safe() || !matches!(state.auto_escape(), AutoEscape::None) {
                return minijinja::escape_formatter(out, state, value);
            }
            Ok(out.write_str(&python::text(state, value)?)?)
        });
    }

    /// The size of a value as a tree, or at least that of its own items where it
    /// is not measured.
    pub(super) fn bytes_of(self, value: &Value) -> usize {
        match value.downcast_object_ref::<Measured>() {
            Some(measured) => measured.size.bytes,
            None => {
                NODE_BYTES * value.len().unwrap_or(1).max(1) + value.as_str().map_or(0, str::len)
            }
        }
    }

    /// The value with lazy sequences made into lists, measured ([`Measured`]).
    /// Slices, sums of lists and the like refer to what they were made from, and
    /// a long chain of them would be walked by recursion.
    ///
    /// What is measured is not walked again, so that a template which looks at the
    /// conversation once for each message takes steps for the message alone.
    ///
    /// Fails where the value is past the limits, or holds a namespace that it may not.
    pub(super) fn settle(
        self,
        state: &State,
        value: Value,
        namespaces: bool,
    ) -> Result<Value, Error> {
        let mut walk = Walk::new(self.tree_bytes);
        let (settled, size) = walk.settled(value, 0)?;
        state.consume_fuel(walk.nodes as u64 * NODE_BYTES as u64 / BYTES_PER_FUEL)?;
        if size.namespaces && !namespaces {
            return Err(failure("a namespace can't be stored in a namespace"));
        }
        Ok(settled)
    }
}

/// The variables, measured, and their size in bytes. No limit but that of the depth applies.
pub(super) fn measure_input(variables: Value) -> Result<(Value, usize), Error> {
    let mut walk = Walk::new(usize::MAX);
    let (settled, size) = walk.settled(variables, 0)?;
    Ok((settled, size.bytes))
}

/// The size of a value, counted as a tree.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    bytes: usize,
    /// Levels of lists and maps.
    depth: usize,
    /// Whether a namespace is in it.
    namespaces: bool,
}

impl Size {
    fn add(&mut self, part: Size) {
        self.bytes = self.bytes.saturating_add(part.bytes);
        self.depth = self.depth.max(part.depth);
        self.namespaces |= part.namespaces;
    }
}

/// A list or map of measured values that knows its size. It can't change.
#[derive(Debug)]
struct Measured {
    inner: DynObject,
    size: Size,
}

impl Object for Measured {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        self.inner.repr()
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.inner.get_value(key)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.inner.get_value_by_str(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.inner.enumerate()
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        self.inner.enumerator_len()
    }
}

/// One walk over what is not measured yet.
struct Walk {
    /// Bytes that may still be counted.
    left: usize,
    /// Values that were walked.
    nodes: usize,
}

impl Walk {
    fn new(left: usize) -> Walk {
        Walk { left, nodes: 0 }
    }

    /// The settled value and its size.
    fn settled(&mut self, value: Value, depth: usize) -> Result<(Value, Size), Error> {
        self.nodes += 1;
        let Some(object) = value.as_object() else {
            let bytes = NODE_BYTES + value.as_str().map_or(0, str::len);
            self.count(bytes)?;
            let size = Size {
                bytes,
                ..Size::default()
            };
            return Ok((value, size));
        };
        if let Some(measured) = object.downcast_ref::<Measured>() {
            let size = measured.size;
            self.count(size.bytes)?;
            self.check_depth(depth + size.depth)?;
            return Ok((value, size));
        }
        self.count(NODE_BYTES)?;
        let mut size = Size {
            bytes: NODE_BYTES,
            ..Size::default()
        };
        size.namespaces = is_namespace(&value);
        if is_engines_own(&value) {
            return Ok((value, size));
        }
        if let Some(range) = value.downcast_object_ref::<Range>() {
            // It takes no memory, but a list of ranges takes time to walk.
            size.bytes = if depth > 0 {
                NODE_BYTES * range.len()
            } else {
                NODE_BYTES
            };
            self.count(size.bytes)?;
            return Ok((value, size));
        }
        if let Some(parts) = objects::parts(&value) {
            self.check_depth(depth + 1)?;
            self.items(parts.into_iter(), depth, &mut size)?;
            size.depth += 1;
            return Ok((value, size));
        }
        self.check_depth(depth + 1)?;
        let settled = match value.kind() {
            ValueKind::Map => {
                let pairs = object.try_iter_pairs().into_iter().flatten();
                Value::from_pairs(self.pairs(pairs, depth, &mut size)?)
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items = object.try_iter().into_iter().flatten();
                let items = self.items(items, depth, &mut size)?;
                if value.is_tuple() {
                    size.depth += 1;
                    return Ok((Value::from(Tuple::from(items)), size));
                }
                Value::from(items)
            }
            _ => return Ok((value, size)),
        };
        size.depth += 1;
        let inner = settled.as_object().cloned();
        let measured = inner.map(|inner| Value::from_object(Measured { inner, size }));
        Ok((measured.unwrap_or(settled), size))
    }

    fn items(
        &mut self,
        items: impl Iterator<Item = Value>,
        depth: usize,
        size: &mut Size,
    ) -> Result<Vec<Value>, Error> {
        let mut settled = Vec::new();
        for item in items {
            let (item, part) = self.settled(item, depth + 1)?;
            size.add(part);
            settled.push(item);
        }
        Ok(settled)
    }

    fn pairs(
        &mut self,
        pairs: impl Iterator<Item = (Value, Value)>,
        depth: usize,
        size: &mut Size,
    ) -> Result<Vec<(Value, Value)>, Error> {
        let mut settled = Vec::new();
        for (key, item) in pairs {
            let (key, part) = self.settled(key, depth + 1)?;
            size.add(part);
            let (item, part) = self.settled(item, depth + 1)?;
            size.add(part);
            settled.push((key, item));
        }
        Ok(settled)
    }

    fn count(&mut self, bytes: usize) -> Result<(), Error> {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => return Err(failure("a list or map is too large")),
        }
        Ok(())
    }

    fn check_depth(&self, depth: usize) -> Result<(), Error> {
        match depth {
            0..=MAX_DEPTH => Ok(()),
            _ => Err(failure("lists and maps are nested too deeply")),
        }
    }
}

/// Macros, loops and namespaces look like maps, and can't be copied as such.
pub(super) fn is_engines_own(value: &Value) -> bool {
    let object = value.as_object();
    value.kind() == ValueKind::Map
        && object.is_some_and(|object| object.type_name().starts_with("minijinja::"))
}

/// The engine's type is private; only its name distinguishes it from a map.
pub(super) fn is_namespace(value: &Value) -> bool {
    let object = value.as_object();
    object.is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

/// An error with this message.
pub(super) fn failure(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

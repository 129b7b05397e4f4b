//! Arguments of filters, methods and functions, by position or name.

use std::collections::VecDeque;

use minijinja::Error;
use minijinja::value::{Kwargs, Value};

use super::guard::failure;
use super::python::{integer, type_name};

/// Arguments, taken one after the other in the order of Python's signature.
pub(super) struct Arguments {
    positional: VecDeque<Value>,
    named: Option<Kwargs>,
}

impl Arguments {
    pub(super) fn new(values: &[Value]) -> Arguments {
        let named = values.last().filter(|value| value.is_kwargs());
        let count = values.len() - usize::from(named.is_some());
        Arguments {
            positional: values[..count].iter().cloned().collect(),
            named: named.and_then(|value| Kwargs::try_from(value.clone()).ok()),
        }
    }

    /// The next argument, or the one of this name.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let named = |kwargs: &Kwargs| kwargs.has(name).then(|| kwargs.get(name).ok()).flatten();
        self.positional
            .pop_front()
            .or_else(|| self.named.as_ref().and_then(named))
    }

    /// An argument that must be there.
    pub(super) fn need(&mut self, name: &str) -> Result<Value, Error> {
        self.take(name)
            .ok_or_else(|| failure(format!("the argument `{name}` is missing")))
    }

    /// A text that must be there.
    pub(super) fn need_text(&mut self, name: &str) -> Result<String, Error> {
        text(name, &self.need(name)?)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        self.take(name).map(|value| text(name, &value)).transpose()
    }

    /// As [`Arguments::text`], but None in Python counts as not given.
    pub(super) fn text_or_none(&mut self, name: &str) -> Result<Option<String>, Error> {
        let value = self.take(name).filter(|value| !value.is_none());
        value.map(|value| text(name, &value)).transpose()
    }

    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = integer(&value).and_then(|number| i64::try_from(number).ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(failure(format!(
                "`{name}` must be a number, not a {}",
                type_name(&value)
            ))),
        }
    }

    pub(super) fn is_true(&mut self, name: &str) -> bool {
        self.take(name).is_some_and(|value| value.is_true())
    }

    /// The positional arguments that are left, and the named ones.
    pub(super) fn rest(&mut self) -> (Vec<Value>, Option<Kwargs>) {
        (self.positional.drain(..).collect(), self.named.take())
    }

    /// Fails where an argument is left.
    pub(super) fn finish(self) -> Result<(), Error> {
        if !self.positional.is_empty() {
            return Err(failure("too many arguments"));
        }
        match self.named {
            Some(named) => named.assert_all_used(),
            None => Ok(()),
        }
    }
}

fn text(name: &str, value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(failure(format!(
            "`{name}` must be a text, not a {}",
            type_name(value)
        ))),
    }
}

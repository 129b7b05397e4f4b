//! `map`, `select` and similar filters: a filter or a test for each item. As in jinja2,
//! a false value of any type gives no items.

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, State};

use super::filters::{attribute, attribute_or};
use super::guard::{Limits, failure};
use super::python::{self, type_name};

/// Names of the arguments of tests.
const TEST_ARGUMENTS: [(&str, &str); 3] =
    [("divisibleby", "num"), ("in", "seq"), ("sameas", "other")];

pub(super) fn install(limits: Limits, env: &mut Environment) {
    env.add_filter(
        "map",
        move |state: &mut State, value: Value, given: Rest<Value>, named: Kwargs| {
            map(limits, state, &value, &given, named)
        },
    );
    for (name, by_attribute, wanted) in [
        ("select", false, true),
        ("reject", false, false),
        ("selectattr", true, true),
        ("rejectattr", true, false),
    ] {
        env.add_filter(
            name,
            move |state: &mut State, value: Value, given: Rest<Value>, named: Kwargs| {
                let mut items = items(limits, state, &value)?;
                if items.is_empty() {
                    return Ok(items);
                }
                let holds = holding(limits, state, &items, &given, &named, by_attribute)?;
                let mut holds = holds.into_iter();
                items.retain(|_| holds.next() == Some(wanted));
                Ok(items)
            },
        );
    }
}

fn items(limits: Limits, state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    if !value.is_true() {
        return Ok(Vec::new());
    }
    pay(limits, state, value)?;
    python::items(value)
}

fn pay(limits: Limits, state: &State, value: &Value) -> Result<(), Error> {
    state.consume_fuel(1 + limits.bytes_of(value) as u64 / 64)
}

fn map(
    limits: Limits,
    state: &mut State,
    value: &Value,
    given: &[Value],
    named: Kwargs,
) -> Result<Vec<Value>, Error> {
    let items = items(limits, state, value)?;
    if items.is_empty() {
        return Ok(items);
    }
    let Some((filter, given)) = given.split_first() else {
        let path = named.get::<Option<Value>>("attribute")?;
        let path = path.ok_or_else(|| failure("`map` needs a filter or an `attribute`"))?;
        let default = named.get::<Option<Value>>("default")?;
        named.assert_all_used()?;
        let mapped = items.iter();
        return mapped
            .map(|item| attribute_or(item, &path, default.as_ref()))
            .collect();
    };
    let filter = name("filter", filter)?;
    let mut arguments = given.to_vec();
    if named.args().next().is_some() {
        arguments.push(Value::from(named));
    }
    let mut mapped = Vec::with_capacity(items.len());
    for item in items {
        pay(limits, state, &item)?;
        let value = state.apply_filter(filter, &with(item, &arguments))?;
        pay(limits, state, &value)?;
        mapped.push(value);
    }
    Ok(mapped)
}

/// For each item, whether the test holds for it or for its attribute.
fn holding(
    limits: Limits,
    state: &mut State,
    items: &[Value],
    given: &[Value],
    named: &Kwargs,
    by_attribute: bool,
) -> Result<Vec<bool>, Error> {
    let (path, given) = match given.split_first() {
        Some((path, given)) if by_attribute => (Some(path), given),
        None if by_attribute => return Err(failure("the name of the attribute is missing")),
        _ => (None, given),
    };
    let test = match given.split_first() {
        Some((test, given)) => {
            let test = name("test", test)?;
            let mut arguments = given.to_vec();
            for (_, argument) in TEST_ARGUMENTS.iter().filter(|(of, _)| *of == test) {
                arguments.extend(named.get::<Option<Value>>(argument)?);
            }
            named.assert_all_used()?;
            Some((test, arguments))
        }
        None => None,
    };
    let mut holds = Vec::with_capacity(items.len());
    for item in items {
        pay(limits, state, item)?;
        let tested = match path {
            Some(path) => attribute(item, path)?,
            None => item.clone(),
        };
        holds.push(match &test {
            Some((test, arguments)) => state.perform_test(test, &with(tested, arguments))?,
            None => tested.is_true(),
        });
    }
    Ok(holds)
}

fn name<'v>(what: &str, value: &'v Value) -> Result<&'v str, Error> {
    let no_name = || {
        failure(format!(
            "a {} is not the name of a {what}",
            type_name(value)
        ))
    };
    value.as_str().ok_or_else(no_name)
}

/// The arguments of a call for one item.
fn with(item: Value, arguments: &[Value]) -> Vec<Value> {
    let mut all = vec![item];
    all.extend_from_slice(arguments);
    all
}

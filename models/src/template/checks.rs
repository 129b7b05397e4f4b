//! Tests (`is …`) whose meaning differs between jinja2 and minijinja.

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, State};

use super::guard::{Limits, failure};
use super::objects::Method;
use super::operators;
use super::python::{self, is_sequence, type_name};

pub(super) fn install(limits: Limits, env: &mut Environment) {
    env.add_test("iterable", |value: Value| python::is_iterable(&value));
    env.add_test("mapping", |value: Value| python::is_dict(&value));
    env.add_test("sequence", |value: Value| {
        // Python asks for a length and for items.
        let sized = value.as_str().is_some() || value.is_undefined();
        sized || is_sequence(&value) || python::is_dict(&value)
    });
    env.add_test("callable", |value: Value| is_callable(&value));
    for (names, sign) in [
        (&["lt", "lessthan", "<"][..], "<"),
        (&["le", "<="], "<="),
        (&["gt", "greaterthan", ">"], ">"),
        (&["ge", ">="], ">="),
        (&["in"], "in"),
    ] {
        for name in names {
            env.add_test(*name, move |state: &State, a: Value, b: Value| {
                let rest = [Value::from(sign), b];
                operators::compare(limits, state, a, &rest)
            });
        }
    }
    for name in ["startingwith", "endingwith", "safe"] {
        env.remove_test(name);
    }
    env.add_test(
        "divisibleby",
        |value: Value, by: Value, rest: Rest<Value>| divisible(&value, &by, &rest),
    );
}

fn is_callable(value: &Value) -> bool {
    let name = value
        .as_object()
        .map(|object| object.type_name().to_owned());
    let engines =
        name.is_some_and(|name| name.ends_with("::Macro") || name.contains("BoxedFunction"));
    value.kind() == ValueKind::Undefined
        || engines
        || value.downcast_object_ref::<Method>().is_some()
}

fn divisible(value: &Value, by: &Value, rest: &[Value]) -> Result<bool, Error> {
    match (python::integer(value), python::integer(by)) {
        (Some(value), Some(by)) if rest.is_empty() => {
            let left = value.checked_rem(by);
            left.map(|left| left == 0)
                .ok_or_else(|| failure("a division by zero"))
        }
        _ => match (python::float(value), python::float(by)) {
            (Some(value), Some(by)) if by != 0.0 => Ok(value % by == 0.0),
            _ => Err(failure(format!("a {} can't be divided", type_name(value)))),
        },
    }
}

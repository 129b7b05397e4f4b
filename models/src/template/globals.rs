//! Functions: `range`, `dict`, `namespace`, and those of `transformers`.

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, State};

use super::arguments::Arguments;
use super::clock;
use super::guard::{Limits, failure};
use super::objects::{MAX_RANGE, Range};
use super::python::{self, type_name};

pub(super) fn install(limits: Limits, local_seconds: Option<i64>, env: &mut Environment) {
    env.add_function("range", |bounds: Rest<Value>| range(&bounds));
    env.add_function(
        "dict",
        move |state: &State, given: Rest<Value>, named: Kwargs| {
            let dict = dict(&given, &named)?;
            limits.settle(state, dict, true)
        },
    );
    let native = env.globals().find(|(name, _)| *name == "namespace");
    if let Some(native) = native.map(|(_, value)| value.clone()) {
        env.add_function(
            "namespace",
            move |state: &mut State, given: Rest<Value>, named: Kwargs| {
                let values = dict(&given, &named)?;
                let values = limits.settle(state, values, false)?;
                native.call(state, &[values])
            },
        );
    }
    env.add_function("strftime_now", move |given: Rest<Value>, named: Kwargs| {
        let mut given = given.to_vec();
        given.push(Value::from(named));
        let mut arguments = Arguments::new(&given);
        let format = arguments.need_text("format")?;
        arguments.finish()?;
        clock::strftime(local_seconds.unwrap_or_else(clock::local_now), &format)
    });
    env.add_function(
        "raise_exception",
        |state: &State, message: Value| -> Result<Value, Error> {
            Err(failure(python::text(state, &message)?))
        },
    );
    // It prints all variables, and is not in Jinja.
    env.remove_global("debug");
}

fn range(bounds: &[Value]) -> Result<Value, Error> {
    let mut numbers = Vec::new();
    for bound in bounds {
        let number = python::integer(bound).and_then(|number| i64::try_from(number).ok());
        numbers.push(number.ok_or_else(|| {
            failure(format!("`range` wants numbers, not a {}", type_name(bound)))
        })?);
    }
    let (start, stop, step) = match numbers.as_slice() {
        [stop] => (0, *stop, 1),
        [start, stop] => (*start, *stop, 1),
        [start, stop, step] if *step != 0 => (*start, *stop, *step),
        [_, _, _] => return Err(failure("the step of a range can't be 0")),
        _ => return Err(failure("`range` wants one to three numbers")),
    };
    let range = Range { start, stop, step };
    if range.len() as i128 > MAX_RANGE {
        return Err(failure("range has too many elements"));
    }
    Ok(Value::from_object(range))
}

/// `dict(map or pairs, name=value, …)`.
fn dict(given: &[Value], named: &Kwargs) -> Result<Value, Error> {
    let mut pairs = match given {
        [] => Vec::new(),
        [map] if python::is_dict(map) => python::pairs(map),
        [list] => python::items(list)?
            .iter()
            .map(pair)
            .collect::<Result<_, _>>()?,
        _ => return Err(failure("too many arguments")),
    };
    for name in named.args() {
        pairs.push((Value::from(name), named.peek(name)?));
    }
    Ok(Value::from_pairs(pairs))
}

fn pair(item: &Value) -> Result<(Value, Value), Error> {
    match <[Value; 2]>::try_from(python::items(item)?) {
        Ok([key, value]) => {
            python::check_hashable(&key)?;
            Ok((key, value))
        }
        Err(_) => Err(failure("a dict is made of pairs")),
    }
}

//! The environment of chat templates, and one run of a template in it.

use std::io;
use std::thread;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Serde, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, State};

use super::guard::{Limits, MAX_TEXT_BYTES, measure_input};
use super::variables::Variables;
use super::{RenderInput, checks, each, filters, globals, json, methods, operators, source};
use crate::{Error, Result};

/// Stack of the thread that compiles and runs a template. The limits on tags and
/// recursion are such that it suffices in a build without optimization.
const STACK_BYTES: usize = 16 << 20;

/// Renders `template` with these variables. It gets a thread of its own, because
/// the caller's stack may be small (an app's worker thread) and minijinja recurses.
pub(super) fn render(template: &str, input: &RenderInput, variables: &Variables) -> Result<String> {
    let run = || run(template, input, variables);
    let done = thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("chat-template".to_owned())
            .stack_size(STACK_BYTES);
        let handle = thread
            .spawn_scoped(scope, run)
            .map_err(|e| reason(format!("could not start a thread for the template: {e}")))?;
        handle
            .join()
            .map_err(|_| reason("the template engine failed".to_owned()))
    });
    done?
}

fn run(template: &str, input: &RenderInput, variables: &Variables) -> Result<String> {
    let template = source::rewrite(template)?;
    let (context, input_bytes) = measure_input(Value::from(Serde(variables))).map_err(explain)?;
    let env = environment(Limits::new(input, input_bytes), input.local_seconds);
    let mut output = Output { text: Vec::new() };
    let compiled = env
        .template_from_named_str("chat_template", &template)
        .map_err(explain)?;
    compiled
        .render_captured_to(context, &mut output)
        .map_err(explain)?;
    String::from_utf8(output.text).map_err(|_| reason("the output is not UTF-8".to_owned()))
}

fn environment(limits: Limits, local_seconds: Option<i64>) -> Environment<'static> {
    let mut env = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
    {
        env.set_syntax(syntax);
    }
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(move |state, value, method, arguments| {
        methods::call(limits, state, value, method, arguments)
    });
    env.add_filter(
        "tojson",
        move |state: &State, value: Value, positional: Rest<Value>, named: Kwargs| {
            json::tojson(limits, state, value, &positional, &named)
        },
    );
    filters::install(limits, &mut env);
    each::install(limits, &mut env);
    checks::install(limits, &mut env);
    operators::install(limits, &mut env);
    globals::install(limits, local_seconds, &mut env);
    limits.install(&mut env);
    env
}

/// The output, up to its limit.
struct Output {
    text: Vec<u8>,
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > MAX_TEXT_BYTES {
            return Err(io::Error::other(format!(
                "the output is longer than {MAX_TEXT_BYTES} bytes"
            )));
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The engine's error with the line of the template.
fn explain(error: minijinja::Error) -> Error {
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes more steps than are allowed".to_owned(),
        (ErrorKind::WriteFailure, _) => {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        }
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    reason(match error.line() {
        Some(line) => format!("line {line}: {message}"),
        None => message,
    })
}

fn reason(reason: String) -> Error {
    Error::Template { reason }
}

//! Renders templates for `cargo xtask templates`, which compares the answers with
//! jinja2's: JSON lines on standard input, one answer a line on standard output.
//!
//! A line is `{"template", "variables"}`; the answer is `{"ok": text}` or
//! `{"err": reason}`. The messages and tools are among the variables, as `given_…`,
//! so that the template gets them as the line has them.

use std::io::{self, BufRead, Write};

use ondol_models::template::{ChatTemplate, RenderInput};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let mut case: Value = serde_json::from_str(&line?)?;
        writeln!(out, "{}", answer(&mut case))?;
    }
    Ok(())
}

fn answer(case: &mut Value) -> Value {
    let Value::Object(variables) = case["variables"].take() else {
        return json!({"err": "no variables"});
    };
    let text = |name: &str| variables.get(name).and_then(Value::as_str);
    let input = RenderInput {
        bos: text("bos_token"),
        eos: text("eos_token"),
        add_generation_prompt: variables
            .get("add_generation_prompt")
            .is_some_and(|value| *value == true),
        local_seconds: Some(0),
        extra: variables.clone(),
        ..RenderInput::default()
    };
    let template = ChatTemplate::new(case["template"].as_str().unwrap_or_default());
    match template.render(&input) {
        Ok(text) => json!({"ok": text}),
        Err(error) => json!({"err": error.to_string()}),
    }
}

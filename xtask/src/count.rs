//! Counts instructions per token on 64-bit Arm with a plugin of qemu, for
//! `docs/arm.md`.

use crate::aarch64::{self, CORES, Core, target_folder};
use crate::models;
use crate::steps::{Outcome, run};
use std::fmt::Write;

/// Models to count: the built-in one, and one of the catalog.
const MODELS: [&str; 2] = ["hello", "smollm2"];

/// Tokens of the prompt, and of the answer.
const PROMPT: u64 = 32;
const ANSWER: u64 = 4;

const HEAD: &str = "
## Instructions per token

Counted under emulation: the instructions that the program needs for one more prompt of 32 tokens, or one more answer of 4
tokens, with packed weights and one thread, divided by the number of tokens. The tables above predict the cycles of these
instructions; a core also waits for memory. In longer prompts more tokens share the unpacking of the weights, and
attention has more work. The build has no link-time optimization. In a build with one code generation unit the counts were
up to a quarter lower; they vary by as much from build to build.

| model | kernels | instructions per token in prefill | in decode |
| --- | --- | --- | --- |
";

/// Appends the table to the text.
pub fn count(page: &mut String) -> Outcome {
    models::fetch()?;
    let plugin = plugin()?;
    page.push_str(HEAD);
    for model in MODELS {
        for core in &CORES {
            let prompt = instructions(&plugin, core, model, ["-n", "0", "-p"], PROMPT)?;
            let answer = instructions(&plugin, core, model, ["-p", "0", "-n"], ANSWER)?;
            let (prompt, answer) = (millions(prompt), millions(answer));
            let level = core.level;
            let _ = writeln!(page, "| {model} | {level} | {prompt} | {answer} |");
        }
    }
    Ok(())
}

/// Compiles the plugin; returns the path.
fn plugin() -> Result<String, String> {
    let object = target_folder().join("count.so").display().to_string();
    let strict = ["-std=c11", "-Wall", "-Wextra", "-Werror"];
    let shared = ["-shared", "-fPIC", "xtask/src/count.c", "-o", &object];
    run("gcc", &[&strict[..], &shared].concat())?;
    Ok(object)
}

/// Instructions per token: the difference between two runs of a test, one of which does
/// the work twice.
fn instructions(
    plugin: &str,
    core: &Core,
    model: &str,
    test: [&str; 3],
    tokens: u64,
) -> Result<u64, String> {
    let tokens_word = tokens.to_string();
    let total = |runs| {
        let fixed = ["bench", model, "--packed", "-t", "1", "-r", runs];
        let args = [&fixed[..], &test, &[&tokens_word]].concat();
        let said = aarch64::output(core, &["-plugin", plugin], &args)?.1;
        let mut lines = said.lines();
        let count = lines.find_map(|line| line.strip_prefix("instructions: "));
        count
            .and_then(|count| count.parse::<u64>().ok())
            .ok_or_else(|| format!("no count in `{said}`"))
    };
    let (one, two) = (total("1")?, total("2")?);
    eprintln!("xtask: {model} on {}: {one}, {two}", core.name);
    Ok(two.saturating_sub(one) / tokens)
}

/// Formats a number with at least three digits.
fn millions(count: u64) -> String {
    let millions = count as f64 / 1e6;
    match count {
        0..10_000_000 => format!("{millions:.2} M"),
        _ => format!("{millions:.0} M"),
    }
}

//! Instructions to a token on 64-bit Arm, counted by a plugin of qemu: a part of
//! `docs/arm.md`.

use crate::aarch64::{self, CORES, Core, target_folder};
use crate::models;
use crate::steps::{Outcome, run};
use std::fmt::Write;

/// Models that are counted: the built-in one, and one of the catalog.
const MODELS: [&str; 2] = ["hello", "smollm2"];

/// Tokens of a prompt, and of an answer.
const PROMPT: u64 = 32;
const ANSWER: u64 = 4;

const HEAD: &str = "
## Instructions to a token

Counted under emulation: all instructions that the program runs for one more prompt of 32 tokens, or one more answer of 4,
with packed weights and one thread, divided by the tokens. A core takes as many cycles as the tables above let it, and
waits for memory besides. In a longer prompt unpacking the weights is shared by more tokens, and attention has more to do.
The build is one without link-time optimization; in one unit of code the counts were up to a quarter lower,
and from build to build they change by as much.

| model | level | instructions to a token of a prompt | of an answer |
| --- | --- | --- | --- |
";

/// Appends the table.
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

/// Compiles the plugin; where it lies.
fn plugin() -> Result<String, String> {
    let object = target_folder().join("count.so").display().to_string();
    let strict = ["-std=c11", "-Wall", "-Wextra", "-Werror"];
    let shared = ["-shared", "-fPIC", "xtask/src/count.c", "-o", &object];
    run("gcc", &[&strict[..], &shared].concat())?;
    Ok(object)
}

/// Instructions to a token: what a second run of a test adds to the first.
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

/// With three digits or more.
fn millions(count: u64) -> String {
    let millions = count as f64 / 1e6;
    match count {
        0..10_000_000 => format!("{millions:.2} M"),
        _ => format!("{millions:.0} M"),
    }
}

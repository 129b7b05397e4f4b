//! How fast the Arm kernels will be, without the hardware: `docs/arm.md`.
//!
//! llvm-mca knows how many instructions of which kind a core starts each cycle.
//! It is given the inner loops of the release build, as the compiler wrote
//! them, and says how many cycles they take when all loads hit the first cache.
//! Instructions per token are counted by a plugin of qemu's.

use crate::aarch64::{self, TARGET, cross, target_folder, text};
use crate::asm::{Loop, loops_of};
use crate::steps::{Outcome, root, run};
use std::fmt::Write;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A core, by the model of it that llvm-mca has.
struct Core {
    title: &'static str,
    model: &'static str,
}

/// A level, and cores that run it.
struct Level {
    name: &'static str,
    /// How the name of its multiplier is mangled.
    symbol: &'static str,
    cores: &'static [Core],
}

const LEVELS: [Level; 3] = [
    Level {
        name: "neon",
        symbol: "8Widening",
        cores: &[
            Core {
                title: "Cortex-A53",
                model: "cortex-a53",
            },
            Core {
                title: "Cortex-A57, A72",
                model: "cortex-a57",
            },
        ],
    },
    Level {
        name: "dotprod",
        symbol: "7DotProd",
        cores: &[
            Core {
                title: "Cortex-A55",
                model: "cortex-a55",
            },
            Core {
                title: "Cortex-A76, A78 (as Neoverse N1)",
                model: "neoverse-n1",
            },
            Core {
                title: "Cortex-X1 (as Neoverse V1)",
                model: "neoverse-v1",
            },
            Core {
                title: "Apple M1 (as Cyclone)",
                model: "apple-m1",
            },
        ],
    },
    Level {
        name: "i8mm",
        symbol: "4I8mm",
        cores: &[
            Core {
                title: "Cortex-A510",
                model: "cortex-a510",
            },
            Core {
                title: "Cortex-A710, X2 (as Neoverse N2)",
                model: "cortex-x2",
            },
            Core {
                title: "Cortex-X3 (as Neoverse V2)",
                model: "neoverse-v2",
            },
            Core {
                title: "Apple M2 (as Cyclone)",
                model: "apple-m2",
            },
        ],
    },
];

/// A kernel: its function holds all these parts in its mangled name, beside the
/// level's.
struct Kernel {
    title: &'static str,
    parts: &'static [&'static str],
    /// How often a level meets a weight and token: once for each byte of the
    /// activations that is multiplied alone.
    planes: fn(level: &str) -> u32,
}

const KERNELS: [Kernel; 7] = [
    Kernel {
        title: "prompt, Q4_0, Q4_1, Q4_K",
        parts: &["6Tokens", "5Whole", "Kj8_", "7I8Block"],
        planes: |_| 1,
    },
    Kernel {
        title: "prompt, Q6_K",
        parts: &["6Tokens", "6Halves", "Kj2_E", "7I8Block"],
        planes: |_| 1,
    },
    Kernel {
        title: "prompt, Q8_0, IQ4_NL, IQ4_XS",
        parts: &["6Tokens", "4Wide", "8I16Block"],
        planes: |level| if level == "neon" { 1 } else { 2 },
    },
    Kernel {
        title: "decode, Q4_0",
        parts: &["4Gemv", "4Q4_0", "10SplitBlock"],
        planes: |_| 2,
    },
    Kernel {
        title: "decode, Q4_K",
        parts: &["4Gemv", "4Q4_K", "10SplitBlock"],
        planes: |_| 2,
    },
    Kernel {
        title: "decode, Q6_K",
        parts: &["4Gemv", "4Q6_K", "10SplitBlock"],
        planes: |_| 2,
    },
    Kernel {
        title: "decode, Q8_0",
        parts: &["4Gemv", "4Q8_0", "8I16Block"],
        planes: |level| if level == "neon" { 1 } else { 2 },
    },
];

/// Models whose instructions per token are counted.
const MODELS: [&str; 2] = ["smollm2", "gemma3-270m"];

/// Tokens of a counted prompt, more than keep fine activations, and of a
/// counted answer.
const PROMPT: u64 = 64;
const ANSWER: u64 = 8;

const HEAD: &str = "\
# How fast on Arm: a model, not a measurement

Made by `cargo xtask mca`; nothing here was run on an Arm core.

## Inner loops

llvm-mca's model of each core is given the inner loops as the compiler wrote them, all loads in the first cache, and says
how many cycles they take. A number is multiply-adds of a weight with an activation in a cycle, beside the most that the
loop's multiplying instructions alone would allow. While decoding, activations have 16 bits, and `sdot` and `smmla` meet
each weight twice. Decoding waits for memory besides: four bits a weight and 10 GB/s are 20 G multiply-adds a second.
Where llvm-mca has no model of a core, the table says which one stands in; its model of Apple's cores is an old one.
";

/// Writes `docs/arm.md`.
pub fn mca() -> Outcome {
    if !aarch64::install(&["llvm-19", "gcc"])? {
        return Ok(());
    }
    let asm = assembly()?;
    let mut page = HEAD.to_owned();
    for level in &LEVELS {
        table(&mut page, level, &asm)?;
    }
    counts(&mut page)?;
    let path = root().join("docs/arm.md");
    fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display()))
}

/// The runtime in release, in the compiler's own words.
fn assembly() -> Result<String, String> {
    let flags = ["-C", "codegen-units=1", "-C", "symbol-mangling-version=v0"];
    let rustc = ["rustc", "-p", "ondol", "--lib", "--", "--emit", "asm"];
    cross(&[&rustc[..], &flags].concat(), "max")?;
    let folder = target_folder().join(TARGET).join("release/deps");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let files = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("ondol-") && name.ends_with(".s")
    });
    // Older builds may have left theirs.
    let modified = |entry: &fs::DirEntry| entry.metadata().and_then(|data| data.modified()).ok();
    let newest = files.max_by_key(modified);
    let newest = newest.ok_or_else(|| "the compiler wrote no assembly".to_owned())?;
    fs::read_to_string(newest.path()).map_err(|e| e.to_string())
}

/// A table of a level's loops on its cores.
fn table(page: &mut String, level: &Level, asm: &str) -> Outcome {
    let titles: Vec<_> = level.cores.iter().map(|core| core.title).collect();
    let rule = "| --- ".repeat(2 + titles.len());
    let _ = writeln!(page, "\n### Level `{}`\n", level.name);
    let _ = writeln!(
        page,
        "| loop | instructions | {} |\n{rule}|",
        titles.join(" | ")
    );
    for kernel in &KERNELS {
        let parts = [&[level.symbol], kernel.parts].concat();
        let Some(best) = densest(asm, &parts) else {
            return Err(format!("no loop of {} at {}", kernel.title, level.name));
        };
        let _ = write!(page, "| {} | {} |", kernel.title, best.instructions.len());
        for core in level.cores {
            let products = best.products() / (kernel.planes)(level.name);
            let reached = per_cycle(products, &best.instructions, core)?;
            let limit = per_cycle(products, &best.products_alone(), core)?;
            let share = 100.0 * reached / limit;
            let _ = write!(page, " {reached:.1} of {limit:.1} ({share:.0} %) |");
        }
        page.push('\n');
    }
    Ok(())
}

/// Of the innermost loops of functions whose names hold all parts, the one with
/// the most products to an instruction: the whole tile, or the packed rows.
fn densest(asm: &str, parts: &[&str]) -> Option<Loop> {
    let loops = loops_of(asm, |name| parts.iter().all(|part| name.contains(part)));
    let density = |a: &Loop| f64::from(a.products()) / a.instructions.len() as f64;
    loops
        .into_iter()
        .max_by(|a, b| density(a).total_cmp(&density(b)))
}

/// `products` to a cycle, where so many are made by these instructions.
fn per_cycle(products: u32, instructions: &[String], core: &Core) -> Result<f64, String> {
    const ROUNDS: u32 = 200;
    let mca = Command::new("llvm-mca-19")
        .args([
            "-mtriple=aarch64",
            "-mattr=+dotprod,+i8mm",
            "-skip-unsupported-instructions=any",
        ])
        .arg(format!("-mcpu={}", core.model))
        .arg(format!("-iterations={ROUNDS}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut mca = mca.map_err(|e| format!("llvm-mca-19: {e}"))?;
    let mut code = instructions.join("\n");
    code.push('\n');
    let written = mca
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(code.as_bytes()));
    let output = mca.wait_with_output().map_err(|e| e.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let cycles = printed
        .lines()
        .find_map(|line| line.strip_prefix("Total Cycles:"));
    match cycles.and_then(|cycles| cycles.trim().parse::<f64>().ok()) {
        Some(cycles) if matches!(written, Some(Ok(()))) => {
            Ok(f64::from(products) * f64::from(ROUNDS) / cycles)
        }
        _ => Err(format!(
            "llvm-mca-19: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// A table of instructions per token.
fn counts(page: &mut String) -> Outcome {
    cross(&["build", "-p", "ondol-cli"], "max")?;
    let plugin = text(&target_folder().join("count.so"));
    let source = text(&root().join("xtask/src/count.c"));
    run("gcc", &["-O2", "-shared", "-fPIC", "-o", &plugin, &source])?;
    page.push_str(
        "\n## Instructions per token\n\nMillions, counted by qemu: one thread, the whole program, ",
    );
    let _ = writeln!(
        page,
        "a prompt of {PROMPT} tokens and an answer of {ANSWER}.\n"
    );
    page.push_str("| model | level | prompt | decode |\n| --- | --- | --- | --- |\n");
    for model in MODELS.into_iter().filter(|model| aarch64::is_here(model)) {
        for level in &LEVELS {
            let prompt = instructions(&plugin, model, level.name, "-p", PROMPT)?;
            let decode = instructions(&plugin, model, level.name, "-n", ANSWER)?;
            let _ = writeln!(
                page,
                "| {model} | {} | {prompt:.1} | {decode:.1} |",
                level.name
            );
        }
    }
    Ok(())
}

/// Millions of instructions for each token: what one more round of so many
/// tokens adds.
fn instructions(
    plugin: &str,
    model: &str,
    level: &str,
    flag: &str,
    tokens: u64,
) -> Result<f64, String> {
    let other = if flag == "-p" { "-n" } else { "-p" };
    let tokens_text = tokens.to_string();
    let count = |rounds: &str| -> Result<f64, String> {
        let bench = [
            "bench",
            model,
            flag,
            &tokens_text,
            other,
            "0",
            "-t",
            "1",
            "-r",
            rounds,
        ];
        let options = ["-d", "plugin", "-plugin", plugin];
        let output = Command::new("timeout")
            .args([aarch64::PATIENCE, "qemu-aarch64", "-cpu", "max"])
            .args(options)
            .arg(aarch64::ondol())
            .args(bench)
            .args(["--packed", "--kernels", level])
            .output();
        let output = output.map_err(|e| e.to_string())?;
        let printed = String::from_utf8_lossy(&output.stderr);
        let counted = printed
            .lines()
            .find_map(|line| line.strip_prefix("instructions: "));
        let counted = counted.and_then(|number| number.trim().parse().ok());
        counted.ok_or_else(|| format!("no count of {model} at {level}: {printed}"))
    };
    Ok((count("2")? - count("1")?) / tokens as f64 / 1e6)
}

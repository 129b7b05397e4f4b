//! How fast the Arm kernels will be, without the hardware: `docs/arm.md`, with the
//! counts of [`crate::count`].
//!
//! llvm-mca knows how many instructions of which kind a core starts each cycle.
//! It is given the inner loops of the release build, as the compiler wrote
//! them, and says how many cycles they take when all loads hit the first cache.

use crate::aarch64::{self, TARGET, cross, target_folder};
use crate::asm::{Loop, loops_of};
use crate::count::count;
use crate::steps::{Outcome, root};
use std::fmt::Write;
use std::fs;
use std::io::Write as _;
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
        symbol: "4Neon",
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
                title: "Cortex-A76, A78 (Neoverse N1)",
                model: "neoverse-n1",
            },
            Core {
                title: "Cortex-X1 (Neoverse V1)",
                model: "neoverse-v1",
            },
            Core {
                title: "Apple M1 (Cyclone)",
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
                title: "Cortex-A710, X2 (Neoverse N2)",
                model: "cortex-x2",
            },
            Core {
                title: "Cortex-X3 (Neoverse V2)",
                model: "neoverse-v2",
            },
            Core {
                title: "Apple M2 (Cyclone)",
                model: "apple-m2",
            },
        ],
    },
];

/// A kernel: its function holds all these parts in its mangled name, beside the
/// level's.
struct Kernel {
    title: &'static str,
    parts: fn(level: &str) -> &'static [&'static str],
    /// How often a level meets a weight and token: once for each byte of the
    /// activations that is multiplied alone.
    planes: fn(level: &str) -> u32,
}

const KERNELS: [Kernel; 8] = [
    Kernel {
        title: "prompt, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4",
        parts: |_| &["4gemm", "8OneScale", "7I8Block"],
        planes: |_| 1,
    },
    Kernel {
        title: "prompt, Q4_K, Q5_K",
        parts: |level| match level {
            "neon" => &["4gemm", "8OneScale", "7I8Block"],
            _ => &["4gemm", "7I8Panel", "Kj8_EK", "7I8Block"],
        },
        planes: |_| 1,
    },
    Kernel {
        title: "prompt, Q6_K",
        parts: |level| match level {
            "neon" => &["4gemm", "9TwoScales", "Kj2_EK", "7I8Block"],
            _ => &["4gemm", "7I8Panel", "Kj8_EK", "7I8Block"],
        },
        planes: |_| 1,
    },
    Kernel {
        title: "prompt, Q8_0, IQ4_NL, IQ4_XS",
        parts: |level| match level {
            "neon" => &["4gemm", "8I16Panel", "8I16Block"],
            _ => &["4gemm", "7I8Panel", "Kj1_EK", "7I8Block"],
        },
        planes: |_| 1,
    },
    Kernel {
        title: "decode, Q4_0",
        parts: |_| &["4gemv", "4Q4_0"],
        planes: |_| 2,
    },
    Kernel {
        title: "decode, Q4_K",
        parts: |_| &["4gemv", "4Q4_K"],
        planes: |_| 2,
    },
    Kernel {
        title: "decode, Q6_K",
        parts: |_| &["4gemv", "4Q6_K"],
        planes: |_| 2,
    },
    Kernel {
        title: "decode, Q8_0",
        parts: |_| &["4gemv", "4Q8_0"],
        planes: |level| if level == "neon" { 1 } else { 2 },
    },
];

const HEAD: &str = "\
# How fast on Arm: a model, not a measurement

Made by `cargo xtask mca`; nothing here was run on an Arm core.

llvm-mca is given the inner loops as the compiler wrote them. Its model of a core says how many cycles they take if all
loads hit the first cache and no jump is guessed wrong. A number is multiply-adds of a weight with an activation in a
cycle, beside what the loop's multiplying instructions alone, none waiting for another, would reach.

- Decoding waits for memory besides: at four bits a weight, 10 GB/s bring 20 G weights a second, each for one
  multiply-add.
- Activations have 16 bits while decoding, and at level `neon` always for Q8_0, IQ4_NL and IQ4_XS. `sdot` then meets
  each weight twice, once for each byte; a multiply-add is counted once.
- Of the loops of a kernel that hold a whole block of weights, the table shows the one with the most multiply-adds to an
  instruction. A kernel whose largest tile the compiler cut into several loops is shown by a smaller tile, and one of
  which it cut every tile (level `neon`, prompt, Q8_0) by the innermost of these loops, without the floats around it.
- Stack: loads and stores of vectors that found no room in the registers.
- A core in brackets is the one whose model stands in. The model of Apple's cores is an old one.
- K-quants in prompts are rounded to bytes with a scale for 256 weights at levels `dotprod` and `i8mm`; rounding them,
  once for all tokens, is not in the loop.
- At level `i8mm` a single token goes by the loops of `dotprod`, so its decode rows are empty.
";

/// Writes `docs/arm.md`.
pub fn mca() -> Outcome {
    if !aarch64::install(&["llvm-19", "gcc"])? {
        return Ok(());
    }
    aarch64::build()?;
    let asm = assembly()?;
    let mut page = HEAD.to_owned();
    for level in &LEVELS {
        table(&mut page, level, &asm)?;
    }
    count(&mut page)?;
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
    let rule = "| --- ".repeat(3 + titles.len());
    let titles = titles.join(" | ");
    let _ = writeln!(page, "\n## Level `{}`\n", level.name);
    let _ = writeln!(page, "| loop | instructions | stack | {titles} |\n{rule}|");
    for kernel in &KERNELS {
        let parts = [&[level.symbol], (kernel.parts)(level.name)].concat();
        let Some(best) = densest(asm, &parts) else {
            let empty = " |".repeat(2 + level.cores.len());
            let _ = writeln!(page, "| {} |{empty}", kernel.title);
            continue;
        };
        let _ = write!(
            page,
            "| {} | {} | {} |",
            kernel.title,
            best.instructions.len(),
            best.spills()
        );
        let products = best.products() / (kernel.planes)(level.name);
        for core in level.cores {
            let _ = write!(page, " {} |", share(products, &best, core)?);
        }
        page.push('\n');
    }
    Ok(())
}

/// What a core makes of the loop, beside the limit of its multiplications.
fn share(products: u32, body: &Loop, core: &Core) -> Result<String, String> {
    let reached = per_cycle(products, &body.instructions, core)?;
    let limit = per_cycle(products, &body.products_alone(), core)?;
    Ok(match (reached, limit) {
        (Some(reached), Some(limit)) => {
            let percent = 100.0 * reached / limit;
            format!("{reached:.1} of {limit:.1} ({percent:.0} %)")
        }
        _ => "no model".to_owned(),
    })
}

/// Of the innermost loops of functions whose names hold all parts, the one with
/// the most products to an instruction: the whole tile, or the packed rows. A part
/// of a tile only where none is whole.
fn densest(asm: &str, parts: &[&str]) -> Option<Loop> {
    let loops = loops_of(asm, |name| parts.iter().all(|part| name.contains(part)));
    let density = |a: &Loop| f64::from(a.products()) / a.instructions.len() as f64;
    let (whole, parts): (Vec<_>, Vec<_>) = loops
        .into_iter()
        .filter(|a| a.products() > 0)
        .partition(Loop::is_whole);
    let best = |loops: Vec<Loop>| {
        loops
            .into_iter()
            .max_by(|a, b| density(a).total_cmp(&density(b)))
    };
    best(whole).or_else(|| best(parts))
}

/// `products` to a cycle, where so many are made by these instructions; none
/// where llvm-mca does not know the core or one of them.
fn per_cycle(products: u32, instructions: &[String], core: &Core) -> Result<Option<f64>, String> {
    const ROUNDS: u32 = 200;
    let mca = Command::new("llvm-mca-19")
        .args(["-mtriple=aarch64", "-mattr=+dotprod,+i8mm"])
        .arg(format!("-mcpu={}", core.model))
        .arg(format!("-iterations={ROUNDS}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut mca = mca.map_err(|e| format!("llvm-mca-19: {e}"))?;
    let code = instructions.join("\n") + "\n";
    if let Some(mut stdin) = mca.stdin.take() {
        let written = stdin.write_all(code.as_bytes());
        written.map_err(|e| format!("llvm-mca-19: {e}"))?;
    }
    let output = mca.wait_with_output().map_err(|e| e.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut lines = printed.lines();
    let cycles = lines.find_map(|line| line.strip_prefix("Total Cycles:"));
    let cycles = cycles.and_then(|cycles| cycles.trim().parse::<f64>().ok());
    Ok(cycles.map(|cycles| f64::from(products) * f64::from(ROUNDS) / cycles))
}

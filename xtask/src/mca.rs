//! Estimates the speed of the Arm kernels without hardware, for `docs/arm.md`, together
//! with the counts of [`crate::count`].
//!
//! llvm-mca has a model of how many instructions of each kind a core starts in each
//! cycle. Its input is the inner loops of the release build, as the compiler wrote them. It
//! computes their cycles under the assumption that all loads hit the first-level cache.

use crate::aarch64::{self, TARGET, cross, target_folder};
use crate::asm::{Loop, loops_of};
use crate::count::count;
use crate::steps::{Outcome, root};
use std::fmt::Write;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// A core, with the name of its model in llvm-mca.
struct Core {
    title: &'static str,
    model: &'static str,
}

/// An ISA, and cores that have it.
struct Level {
    name: &'static str,
    /// Part of the mangled name of its multiplier.
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

/// A kernel. The mangled name of its function contains all these parts and the ISA's.
struct Kernel {
    title: &'static str,
    parts: fn(level: &str) -> &'static [&'static str],
    /// How often an ISA multiplies a weight with a token's activation: once for each
    /// byte of the activation that is multiplied separately.
    planes: fn(level: &str) -> u32,
}

const KERNELS: [Kernel; 8] = [
    Kernel {
        title: "prefill, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4",
        parts: |_| &["4gemm", "8OneScale", "7I8Block"],
        planes: |_| 1,
    },
    Kernel {
        title: "prefill, Q4_K, Q5_K",
        parts: |level| match level {
            "neon" => &["4gemm", "8OneScale", "7I8Block"],
            _ => &["4gemm", "7I8Panel", "Kj8_EK", "7I8Block"],
        },
        planes: |_| 1,
    },
    Kernel {
        title: "prefill, Q6_K",
        parts: |level| match level {
            "neon" => &["4gemm", "9TwoScales", "Kj2_EK", "7I8Block"],
            _ => &["4gemm", "7I8Panel", "Kj8_EK", "7I8Block"],
        },
        planes: |_| 1,
    },
    Kernel {
        title: "prefill, Q8_0, IQ4_NL, IQ4_XS",
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

llvm-mca analyses the inner loops that the compiler generated. Its model of a core predicts how many cycles a loop takes if
all loads hit the first-level cache and no branch is mispredicted. Each cell has the predicted multiply-adds (of one weight
with one activation) per cycle, of the number that the multiply instructions of the loop would reach if none waited.

- Decode also waits for memory, which is not in these numbers: with four bits per weight, 10 GB/s deliver 20 G weights
  per second, each for one multiply-add.
- Activations have 16 bits in decode, and with `neon` also in prefill for Q8_0, IQ4_NL and IQ4_XS. `sdot` then multiplies
  each weight twice, once with each byte; this counts as one multiply-add.
- A kernel has several loops over whole blocks of weights. The table shows the loop with the most multiply-adds per
  instruction. Where the compiler split the loop with the largest register tile, the table shows a smaller tile. For one
  kernel (`neon`, prefill, Q8_0) it split all of them, and the table shows the innermost loop, without the arithmetic on
  floats around it.
- Stack: vector loads and stores of values that did not fit in registers.
- Where llvm-mca has no model of a core, the core in brackets is used instead. Its model of Apple's cores is old.
- With `dotprod` and `i8mm`, prefill rounds K-quants to bytes with one scale for 256 weights. The rounding is done once for
  all tokens and is not in the loop.
- With `i8mm`, decode of one token uses the loops of `dotprod`, so its rows are empty.
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

/// The release build of the kernels as assembly.
fn assembly() -> Result<String, String> {
    let flags = ["-C", "codegen-units=1", "-C", "symbol-mangling-version=v0"];
    let rustc = [
        "rustc",
        "-p",
        "ondol-kernels",
        "--lib",
        "--",
        "--emit",
        "asm",
    ];
    cross(&[&rustc[..], &flags].concat(), "max")?;
    let folder = target_folder().join(TARGET).join("release/deps");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let files = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("ondol_kernels-") && name.ends_with(".s")
    });
    // Older builds may have left their files.
    let modified = |entry: &fs::DirEntry| entry.metadata().and_then(|data| data.modified()).ok();
    let newest = files.max_by_key(modified);
    let newest = newest.ok_or_else(|| "the compiler wrote no assembly".to_owned())?;
    fs::read_to_string(newest.path()).map_err(|e| e.to_string())
}

/// A table of an ISA's loops on its cores.
fn table(page: &mut String, level: &Level, asm: &str) -> Outcome {
    let titles: Vec<_> = level.cores.iter().map(|core| core.title).collect();
    let rule = "| --- ".repeat(3 + titles.len());
    let titles = titles.join(" | ");
    let _ = writeln!(page, "\n## `{}`\n", level.name);
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

/// The cycles of the loop on a core, beside the limit of its multiplications.
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

/// Of the innermost loops of functions whose names contain all parts, the one with the
/// most products for each instruction: a whole tile, or packed rows. A loop of a part
/// of a tile is taken only if there is no whole one.
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

/// `products` for each cycle, if these instructions compute that many; none if llvm-mca
/// does not know the core or an instruction.
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

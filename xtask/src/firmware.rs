//! Tests the library without an operating system, on boards that qemu emulates: the C
//! example must answer as the host does, and its bytes are counted.
//!
//! The libraries are built by Debian's Rust, with the standard library's source
//! (`rust-web-src`), so that `core` and `alloc` are also built for size.

use crate::both::both;
use crate::steps::{Extent, Outcome, root, run, run_env};
use crate::{apt, c};
use std::path::PathBuf;
use std::process::Command;

const PACKAGES: [&str; 8] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "clang-19",
    "lld-19",
    "llvm-19",
    "qemu-system-arm",
    "qemu-system-misc",
];

/// The features that `hello` needs: the llama architecture, one family of block formats and one
/// tokenizer. The limits of bytes apply to this build.
const LEAST: &str = "formats-legacy,tokenizer-bpe";
const ALL: &str = "all";
/// A build without the block format of `hello`.
const TOO_LITTLE: &str = "tokenizer-bpe";

/// Bytes of flash that the code with [`LEAST`] may take on a Cortex-M, without the model.
const BUDGET: u64 = 150 * 1024;

/// Bytes of RAM for the library in the example, and bytes of its stack.
const ARENA: u32 = 320 * 1024;
const STACK: u32 = 64 * 1024;

/// Bytes of an arena in which the model's vocabulary does not fit.
const TOO_SMALL: u32 = 16 * 1024;

/// Seconds after which a run is assumed to hang.
const PATIENCE: &str = "600";

const SOURCES: &str = "bindings/c/examples/firmware";

struct Board {
    target: &'static str,
    clang: &'static [&'static str],
    script: &'static str,
    /// Address of the board's memory.
    base: &'static str,
    qemu: &'static [&'static str],
}

const CORTEX_M4: Board = Board {
    target: "thumbv7em-none-eabihf",
    clang: &[
        "--target=thumbv7em-none-eabihf",
        "-mcpu=cortex-m4",
        "-mfloat-abi=hard",
        "-mfpu=fpv4-sp-d16",
    ],
    script: "cortex-m.ld",
    base: "0",
    qemu: &["qemu-system-arm", "-M", "mps2-an386"],
};

const OTHERS: [Board; 3] = [
    Board {
        target: "aarch64-unknown-none",
        clang: &["--target=aarch64-none-elf"],
        script: "virt.ld",
        base: "0x40080000",
        qemu: &["qemu-system-aarch64", "-M", "virt", "-cpu", "max"],
    },
    Board {
        target: "riscv32imac-unknown-none-elf",
        clang: &["--target=riscv32", "-march=rv32imac", "-mabi=ilp32"],
        script: "virt.ld",
        base: "0x80000000",
        qemu: &["qemu-system-riscv32", "-M", "virt", "-bios", "none"],
    },
    Board {
        target: "riscv64gc-unknown-none-elf",
        clang: &[
            "--target=riscv64",
            "-march=rv64gc",
            "-mabi=lp64d",
            "-mcmodel=medany",
        ],
        script: "virt.ld",
        base: "0x80000000",
        qemu: &["qemu-system-riscv64", "-M", "virt", "-bios", "none"],
    },
];

/// Runs the example on the boards and counts its bytes. The limits are checked on the
/// Cortex-M. The last board is like the one before it, but has 64-bit words.
pub fn firmware(extent: Extent) -> Outcome {
    if !apt::install("firmware", &PACKAGES)? {
        return Ok(());
    }
    run("/usr/bin/rustc", &["--version"])?;
    let host = c::example()?;
    let expected = [
        host_answer(&host, "안녕하세요")?,
        host_answer(&host, "What is ondol?")?,
    ];

    let others = match extent {
        Extent::Part => &OTHERS[..OTHERS.len() - 1],
        Extent::All => &OTHERS,
    };
    let (mut figures, others) = both(|| cortex_m4(&expected), || other_boards(others, &expected))?;
    figures.extend(others);
    print(&figures);
    if figures[0].2.flash() > BUDGET {
        return Err(format!("the budget of {BUDGET} bytes of flash"));
    }
    Ok(())
}

/// The target of a board, its builds, and their bytes.
type Row = (&'static str, &'static str, Figures);

/// Tests all cases of the example on the Cortex-M4, beginning with the build that has
/// limits.
fn cortex_m4(expected: &[String; 2]) -> Result<Vec<Row>, String> {
    let board = &CORTEX_M4;
    library(board, ALL)?;
    let all = answers(board, expected)?;
    library(board, TOO_LITTLE)?;
    ends(board, ARENA, 1, "Q8_0, which this build does not support")?;
    library(board, LEAST)?;
    ends(board, TOO_SMALL, 1, "out of memory: ")?;
    let least = answers(board, expected)?;
    Ok(vec![(board.target, LEAST, least), (board.target, ALL, all)])
}

/// Tests the answers of the other boards.
fn other_boards(boards: &'static [Board], expected: &[String; 2]) -> Result<Vec<Row>, String> {
    let rows = boards.iter().map(|board| {
        library(board, LEAST)?;
        Ok((board.target, LEAST, answers(board, expected)?))
    });
    rows.collect()
}

/// The answers of the host's scalar kernels, through the same binding.
fn host_answer(program: &str, question: &str) -> Result<String, String> {
    let output = Command::new(program)
        .args([c::HELLO, question])
        .env("ONDOL_KERNELS", "scalar")
        .current_dir(root())
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("the host's answer to `{question}`"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Builds `libondol.a` for a board.
fn library(board: &Board, features: &str) -> Outcome {
    let folder = folder(board).display().to_string();
    let package = ["rustc", "--quiet", "--profile", "firmware", "-p", "ondol-c"];
    let small = [
        "-Zbuild-std=core,alloc",
        "-Zbuild-std-features=optimize_for_size",
    ];
    let what = [
        "--no-default-features",
        "--features",
        features,
        "--crate-type",
        "staticlib",
        "--target",
        board.target,
    ];
    run_env(
        "/usr/bin/cargo",
        &[&package[..], &what, &small].concat(),
        &[
            ("RUSTC", "/usr/bin/rustc"),
            ("RUSTC_BOOTSTRAP", "1"),
            ("RUSTFLAGS", "-Zlocation-detail=none -Zfmt-debug=none"),
            ("CARGO_TARGET_DIR", &folder),
        ],
    )
}

/// Compiles and links the example with an arena of the given number of bytes; returns
/// the path.
fn link(board: &Board, arena: u32) -> Result<String, String> {
    let folder = folder(board);
    let file = |name: &str| folder.join(name).display().to_string();
    let source = |name: &str| format!("{SOURCES}/{name}");
    let arena = format!("-DARENA_BYTES={arena}");
    let c = [
        "-Os",
        "-std=c11",
        "-ffreestanding",
        "-Wall",
        "-Wextra",
        "-Werror",
    ];
    for (name, object) in [("main.c", "main.o"), ("board.c", "board.o")] {
        let files = [
            "-Ibindings/c",
            &arena,
            "-c",
            &source(name),
            "-o",
            &file(object),
        ];
        run("clang-19", &[board.clang, &c, &files].concat())?;
    }
    let model = ["-DMODEL=\"models/hello/hello.gguf\"", "-c"];
    let files = [&source("model.S"), "-o", &file("model.o")];
    run("clang-19", &[board.clang, &model, &files].concat())?;

    let program = file("example.elf");
    let places = [
        format!("--defsym=BASE={}", board.base),
        format!("--defsym=STACK_BYTES={STACK}"),
    ];
    run(
        "ld.lld-19",
        &[
            "--gc-sections",
            "-T",
            &source(board.script),
            &places[0],
            &places[1],
            "-o",
            &program,
            &file("main.o"),
            &file("board.o"),
            &file("model.o"),
            &file(&format!("{}/firmware/libondol.a", board.target)),
        ],
    )?;
    Ok(program)
}

/// Runs a program on its board. Returns whether it succeeded, and its output.
fn emulate(board: &Board, program: &str) -> Result<(Option<i32>, String), String> {
    let bare = [
        "-nic",
        "none",
        "-nographic",
        "-monitor",
        "none",
        "-serial",
        "none",
        "-semihosting-config",
        "enable=on,target=native",
        "-kernel",
        program,
    ];
    let output = Command::new("timeout")
        .arg(PATIENCE)
        .args(board.qemu)
        .args(bare)
        .current_dir(root())
        .output()
        .map_err(|e| e.to_string())?;
    // Boards print by semihosting, to the emulator's standard error.
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    Ok((output.status.code(), printed))
}

/// Checks that the example ends with this code (2 is the panic hook's) and a message.
fn ends(board: &Board, arena: u32, code: i32, message: &str) -> Outcome {
    let (found, printed) = emulate(board, &link(board, arena)?)?;
    if found == Some(code) && printed.contains(message) {
        return Ok(());
    }
    Err(format!("`{message}`: {found:?}, `{printed}`"))
}

/// Runs the example, compares it with the expected output, and counts bytes.
fn answers(board: &Board, expected: &[String; 2]) -> Result<Figures, String> {
    let program = link(board, ARENA)?;
    let (code, printed) = emulate(board, &program)?;
    let answers: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("answer: "))
        .collect();
    let refused = printed.contains("refused what does not fit");
    if code != Some(0) || answers != expected || !refused || number(&printed, "ram.left") != Some(0)
    {
        let target = board.target;
        return Err(format!(
            "{target}: {code:?}, `{printed}`, expected {expected:?}"
        ));
    }
    Figures::read(&program, &printed)
        .ok_or_else(|| format!("{}: figures in `{printed}`", board.target))
}

/// Bytes of a program.
struct Figures {
    code: u64,
    rodata: u64,
    model_heap: u64,
    session: u64,
    heap_peak: u64,
    stack: u64,
}

impl Figures {
    fn read(program: &str, printed: &str) -> Option<Figures> {
        let sizes = Command::new("llvm-size-19").args(["-A", program]).output();
        let sizes = String::from_utf8(sizes.ok()?.stdout).ok()?;
        Some(Figures {
            code: number(&sizes, ".text")?,
            // Initial values of variables are in flash too; a program may have none.
            rodata: number(&sizes, ".rodata")? + number(&sizes, ".data").unwrap_or(0),
            model_heap: number(printed, "ram.model")?,
            session: number(printed, "ram.session")?,
            heap_peak: number(printed, "ram.peak")?,
            stack: number(printed, "ram.stack")?,
        })
    }

    /// Bytes of flash without the model.
    fn flash(&self) -> u64 {
        self.code + self.rodata
    }
}

/// The number after a word at the start of a line.
fn number(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(word)).then(|| words.next()?.parse().ok())?
    })
}

fn print(figures: &[Row]) {
    println!("\nbytes (the example with `hello`: context 128, chunks of 8 tokens)");
    println!(
        "| target | build | code | read-only data | flash without model | heap of the model \
         | session | heap, most | stack, most |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (target, features, f) in figures {
        println!(
            "| {target} | {features} | {} | {} | {} | {} | {} | {} | {} |",
            f.code,
            f.rodata,
            f.flash(),
            f.model_heap,
            f.session,
            f.heap_peak,
            f.stack
        );
    }
}

/// A separate folder for each board, because two boards are built at the same time.
fn folder(board: &Board) -> PathBuf {
    root().join("target/firmware").join(board.target)
}

//! The steps of each chore: commands that run in the root folder of the workspace.

use std::fs;
use std::io;
#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The failed step: a command line, or the name of a check.
pub type Outcome = Result<(), String>;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

pub fn run(program: &str, args: &[&str]) -> Outcome {
    run_env(program, args, &[])
}

pub fn run_env(program: &str, args: &[&str], env: &[(&str, &str)]) -> Outcome {
    run_there(&root(), program, args, env)
}

/// Runs a program in another folder than the root.
pub fn run_in(folder: &Path, program: &str, args: &[&str]) -> Outcome {
    run_there(folder, program, args, &[])
}

fn run_there(folder: &Path, program: &str, args: &[&str], env: &[(&str, &str)]) -> Outcome {
    let line = format!("{program} {}", args.join(" "));
    eprintln!("xtask: {line}");
    let status = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(folder)
        // No step asks questions, and `ondol run` reads piped input.
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(line),
        Err(error) => Err(format!("{line} ({error})")),
    }
}

/// The standard output of a program.
pub fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let line = format!("{program} {}", args.join(" "));
    let output = Command::new(program)
        .args(args)
        .current_dir(root())
        .output()
        .map_err(|error| format!("{line} ({error})"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{line}: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs Python, whose package index chores fetch from. The error is the last line that
/// it prints.
pub fn python(args: &[&str]) -> Outcome {
    eprintln!("xtask: python3 {}", args.join(" "));
    output("python3", args).map(drop).map_err(|said| {
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or_default().to_owned()
    })
}

pub fn cargo(args: &[&str]) -> Outcome {
    run("cargo", args)
}

/// A chore: its name and its function.
type Step = (&'static str, fn() -> Outcome);

/// How much of a chore runs: CI runs the parts that find faults fastest, a person runs everything.
#[derive(Clone, Copy, PartialEq)]
pub enum Extent {
    Part,
    All,
}

/// The chores that CI runs in the shared target folder, one after another. They all use
/// the same build.
const HOST: [Step; 12] = [
    ("lint", lint),
    ("api", || crate::api::api(&[])),
    ("no-std", no_std),
    ("unit", unit),
    ("c", || crate::c::c(&[])),
    ("hostile", hostile),
    ("templates", crate::templates::templates),
    ("models", || crate::models::models(Extent::Part)),
    ("delegate", crate::delegate::delegate),
    ("openvino", crate::openvino::openvino),
    ("onnxruntime", || {
        crate::onnxruntime::onnxruntime(Extent::Part)
    }),
    ("candle", || crate::candle::candle(Extent::Part)),
];

/// The chores that CI runs at the same time as [`HOST`]. Most of their time is linking, which
/// keeps one core busy. The first ones have separate target folders, because cargo locks a target
/// folder.
const BESIDE: [Step; 3] = [
    ("aarch64", crate::aarch64::aarch64),
    ("firmware", || crate::firmware::firmware(Extent::Part)),
    // Uses the host's build, which is complete by then.
    ("apps", || crate::apps::apps(&[])),
];

/// The chores that CI leaves out.
const FULL: [Step; 8] = [
    ("models", || crate::models::models(Extent::All)),
    ("onnxruntime", || {
        crate::onnxruntime::onnxruntime(Extent::All)
    }),
    ("candle", || crate::candle::candle(Extent::All)),
    ("firmware", || crate::firmware::firmware(Extent::All)),
    ("android", crate::mobile::android),
    ("ios", crate::mobile::ios),
    ("arm-records", crate::aarch64::records),
    ("sanitize", crate::sanitize::sanitize),
];

/// Runs everything that CI runs, in two sequences at the same time, and prints the time
/// of each step.
pub fn test() -> Outcome {
    let log = root().join("target/xtask-beside.log");
    let beside = Beside::start(&log)?;
    let host = run_steps(&HOST);
    if host.is_err() {
        beside.stop();
        return host;
    }
    beside.finish(&log)
}

/// Runs the steps of [`BESIDE`], one after another.
pub fn beside() -> Outcome {
    run_steps(&BESIDE)
}

/// Runs completely the chores of which CI runs a part or nothing.
pub fn full() -> Outcome {
    run_steps(&FULL)
}

/// Runs the checks for a contributor before a commit: a few minutes if the target
/// folder is up to date.
pub fn check() -> Outcome {
    run_steps(&[("fmt", fmt), ("clippy", clippy), ("quick", quick)])
}

/// Runs steps one after another until one fails; prints the time of each.
fn run_steps(steps: &[Step]) -> Outcome {
    let mut taken = Vec::new();
    let outcome = steps.iter().try_for_each(|(name, step)| {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let outcome = step();
        let cpu = cpu_seconds() - cpu;
        taken.push((*name, start.elapsed().as_secs_f64(), cpu));
        outcome
    });
    let all = taken.iter().fold((0.0, 0.0), |(wall, cpu), step| {
        (wall + step.1, cpu + step.2)
    });
    taken.push(("all", all.0, all.1));
    for (name, wall, cpu) in taken {
        eprintln!("xtask: {name:10} {wall:7.1} s, {cpu:7.1} s of CPU");
    }
    outcome
}

/// CPU time of the programs that this one started and waited for; zero if the system
/// does not report it in Linux's format.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    // `cutime` and `cstime` in proc(5).
    let ticks = fields.split(' ').skip(13).take(2);
    ticks
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS_PER_SECOND
}

/// The second sequence, a process of this same program. Its output goes to a file, so that the
/// outputs of the two sequences do not mix.
struct Beside(Child);

impl Beside {
    fn start(log: &Path) -> Result<Beside, String> {
        let failed = |error: io::Error| format!("{} ({error})", log.display());
        fs::create_dir_all(root().join("target")).map_err(failed)?;
        let out = fs::File::create(log).map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        eprintln!("xtask: beside this, with its output in {}:", log.display());
        BESIDE
            .iter()
            .for_each(|(name, _)| eprintln!("xtask:   {name}"));
        let mut command = Command::new(program);
        command.arg("beside").stdin(Stdio::null());
        command.stdout(out.try_clone().map_err(failed)?).stderr(out);
        // A process group, so that the process can be ended with everything that it started.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn().map(Beside).map_err(failed)
    }

    /// Ends the second sequence after the first has failed.
    fn stop(mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["--", &group]).status();
        let _ = self.0.wait();
    }

    /// Waits for the second sequence, and prints its output.
    fn finish(mut self, log: &Path) -> Outcome {
        let status = self.0.wait();
        let said = fs::read(log).unwrap_or_default();
        eprintln!("{}", String::from_utf8_lossy(&said));
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err("a step beside the others".to_owned()),
        }
    }
}

/// Checks formatting, lints and documentation.
pub fn lint() -> Outcome {
    fmt()?;
    clippy()?;
    run_env(
        "cargo",
        &["doc", "--workspace", "--no-deps"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}

fn fmt() -> Outcome {
    cargo(&["fmt", "--all", "--check"])
}

fn clippy() -> Outcome {
    let all = ["clippy", "--workspace", "--all-targets"];
    cargo(&[&all[..], &["--", "-D", "warnings"]].concat())
}

/// Runs all tests except the long ones.
pub fn unit() -> Outcome {
    cargo(&["test", "--workspace"])
}

/// Runs the tests inside the crates, which link few programs.
fn quick() -> Outcome {
    cargo(&["test", "--workspace", "--lib", "--bins"])
}

/// Builds the three core crates without the standard library, with all features and with
/// the fewest.
pub fn no_std() -> Outcome {
    let core = ["-p", "ondol-models", "-p", "ondol-kernels", "-p", "ondol"];
    let clippy = [&["clippy"], &core[..]].concat();
    let strict = ["--", "-D", "warnings"];
    let without = ["--no-default-features"];
    cargo(&[&clippy[..], &without, &["--features", "all"], &strict].concat())?;
    cargo(&[&clippy[..], &without, &strict].concat())
}

/// Loads damaged copies of `hello` and generates four tokens. Builds the whole
/// workspace, because building one package alone would rebuild its dependencies with
/// other features.
pub fn hostile() -> Outcome {
    cargo(&[
        "test",
        "--workspace",
        "--test",
        "hostile",
        "--",
        "--ignored",
        "--nocapture",
    ])
}

/// Runs each fuzz target for a minute.
pub fn fuzz() -> Outcome {
    let run = |target| {
        cargo(&[
            "+nightly",
            "fuzz",
            "run",
            target,
            "--",
            "-max_total_time=60",
        ])
    };
    ["gguf_reader", "tokenizer"].into_iter().try_for_each(run)
}

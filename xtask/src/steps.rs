//! The steps of each chore: commands, run from the workspace's root.

use std::fs;
use std::io;
#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What failed: the command line, or a check by name.
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
    let line = format!("{program} {}", args.join(" "));
    eprintln!("xtask: {line}");
    let status = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root())
        // No step asks anything, and `ondol run` reads what is piped in.
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(line),
        Err(error) => Err(format!("{line} ({error})")),
    }
}

/// What a program prints.
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

/// Runs Python, whose package index chores fetch from; the error is the last thing
/// that it says.
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

/// A chore, and what it does.
type Step = (&'static str, fn() -> Outcome);

/// How much of a chore is done: CI takes what can show a fault soonest, people all.
#[derive(Clone, Copy, PartialEq)]
pub enum Extent {
    Part,
    All,
}

/// What CI runs in the shared target folder, one after the other. All of it takes the
/// same build.
const HOST: [Step; 10] = [
    ("lint", lint),
    ("api", || crate::api::api(&[])),
    ("no-std", no_std),
    ("unit", unit),
    ("c", crate::c::c),
    ("hostile", hostile),
    ("templates", crate::templates::templates),
    ("models", || crate::models::models(Extent::Part)),
    ("delegate", crate::delegate::delegate),
    ("openvino", crate::openvino::openvino),
];

/// What CI runs beside [`HOST`]: each has a target folder of its own, and much of it
/// is linking, which keeps one core busy. What takes the least of the host's build
/// comes first, for cargo locks that.
const BESIDE: [Step; 3] = [
    ("mobile", crate::mobile::test),
    ("aarch64", crate::aarch64::aarch64),
    ("firmware", || crate::firmware::firmware(Extent::Part)),
];

/// What CI leaves out.
const FULL: [Step; 6] = [
    ("models", || crate::models::models(Extent::All)),
    ("firmware", || crate::firmware::firmware(Extent::All)),
    ("android", crate::mobile::android),
    ("ios", crate::mobile::ios),
    ("arm-records", crate::aarch64::records),
    ("sanitize", crate::sanitize::sanitize),
];

/// Everything that CI runs, in two lanes side by side, and how long each step took.
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

/// The steps of [`BESIDE`], one after the other.
pub fn beside() -> Outcome {
    run_steps(&BESIDE)
}

/// The chores of which CI runs a part or nothing, as wholes.
pub fn full() -> Outcome {
    run_steps(&FULL)
}

/// What a contributor runs before a commit: a few minutes where the target folder is
/// warm.
pub fn check() -> Outcome {
    run_steps(&[("fmt", fmt), ("clippy", clippy), ("quick", quick)])
}

/// Runs steps one after the other until one fails; prints what each took.
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

/// What the programs that this one started and waited for have used of the CPU; zero
/// where the system does not say it in Linux's way.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    // `cutime` and `cstime`, in the words of proc(5).
    let ticks = fields.split(' ').skip(13).take(2);
    ticks
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS_PER_SECOND
}

/// The second lane: this program again, whose output waits in a file so that the two
/// do not mix.
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
        // A group of its own, so that it can be ended with all that it started.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn().map(Beside).map_err(failed)
    }

    /// Ends it, where the first lane has failed.
    fn stop(mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["--", &group]).status();
        let _ = self.0.wait();
    }

    /// Waits for it, and prints what it said.
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

/// Formatting, lints and documentation.
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

/// All tests but the long ones.
pub fn unit() -> Outcome {
    cargo(&["test", "--workspace"])
}

/// The tests inside the crates, which link few programs.
fn quick() -> Outcome {
    cargo(&["test", "--workspace", "--lib", "--bins"])
}

/// The two storeys without the standard library, with everything and with least.
pub fn no_std() -> Outcome {
    let both = ["clippy", "-p", "ondol-models", "-p", "ondol"];
    let strict = ["--", "-D", "warnings"];
    let without = ["--no-default-features"];
    cargo(&[&both[..], &without, &["--features", "all"], &strict].concat())?;
    cargo(&[&both[..], &without, &strict].concat())
}

/// Damaged copies of `hello` through load and four tokens. Of the workspace, since
/// a package alone would have its dependencies built anew, with other features.
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

/// The fuzz targets, a minute each.
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

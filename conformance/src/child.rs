//! Levels that look at the process itself, its memory or its table of functions: they
//! run in a process of their own, which a broken plug-in may end.

use crate::report::{Level, Name, Report, Text};
use std::ffi::OsString;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a level may take.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// The time between two checks whether the process has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Whether a level runs in a process of its own.
pub fn runs(name: Name) -> bool {
    matches!(name, Name::Abi | Name::Soak)
}

/// A command from its words; without words it is one that does not exist.
pub fn command(words: &[OsString]) -> Command {
    let (program, arguments) = words.split_first().unzip();
    let mut command = Command::new(program.cloned().unwrap_or_default());
    command.args(arguments.unwrap_or_default());
    command
}

/// Runs a level and returns its results; a process that ends without them is a gate
/// that fails.
pub fn run(verifier: &[OsString], name: Name) -> Level {
    let mut command = command(verifier);
    command.arg(name.to_string());
    level_of(&mut command, name).unwrap_or_else(|error| {
        let mut level = Level::new(name);
        let title = Text::new(
            "the process with the plug-in lives to the end of the level",
            "플러그인을 실행한 프로세스가 단계 끝까지 유지됨",
        );
        level.holds(&format!("{name}.process"), title, Err(error));
        level
    })
}

fn level_of(command: &mut Command, name: Name) -> Result<Level, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|e| format!("it did not start: {e}"))?;
    let printed = child.stdout.take();
    // Its output is read while it runs, so that a full pipe does not stop it.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let read = printed.map(|mut printed| printed.read_to_string(&mut text));
        read.transpose().map(|_| text)
    });
    let status = wait(&mut child)?;
    let text = reader
        .join()
        .map_err(|_| "its output was lost".to_owned())?;
    let text = text.map_err(|e| format!("its output can't be read: {e}"))?;
    let report: Report = serde_json::from_str(&text).map_err(|_| ended(status))?;
    let mut levels = report.levels.into_iter();
    let level = levels.find(|level| level.name == name);
    level.ok_or_else(|| "its report has no such level".to_owned())
}

/// Waits for the process; one that takes too long is killed.
fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    let began = Instant::now();
    loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => return Ok(status),
            None if began.elapsed() < PATIENCE => std::thread::sleep(LOOK),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it was killed after {} s", PATIENCE.as_secs()));
            }
        }
    }
}

/// How a process ended, in words: `signal: 11 (SIGSEGV)`.
fn ended(status: ExitStatus) -> String {
    format!("it ended without a report: {status}")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn shell(line: &str) -> Vec<OsString> {
        ["sh", "-c", line].map(OsString::from).into()
    }

    #[test]
    fn a_process_that_dies_is_a_failed_gate() {
        for (line, word) in [
            ("kill -SEGV $$", "signal: 11"),
            ("exit 3", "3"),
            ("true", "0"),
        ] {
            let level = run(&shell(line), Name::Abi);
            let [gate] = level.gates.as_slice() else {
                panic!("{:?}", level.gates);
            };
            assert_eq!(
                (gate.verdict, gate.id.as_str()),
                (Verdict::Fail, "abi.process")
            );
            assert!(gate.note.contains(word), "{}", gate.note);
        }
        let level = run(&["/no/such/program".into()], Name::Soak);
        assert!(level.gates[0].note.contains("did not start"));
    }
}

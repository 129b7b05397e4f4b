//! What the command's tests share: folders of their own, and running the command.
#![allow(dead_code)] // Each test file uses a part of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// An empty folder for one test.
pub fn folder(test: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{test}", env!("CARGO_CRATE_NAME")));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The command, with nothing of the user's environment that it would look at.
pub fn ondol(home: &Path) -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_ondol")), home)
}

/// A line of a shell, in which `"$0"` is the command.
pub fn shell(home: &Path, line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_ondol")]);
    clean(command, home)
}

fn clean(mut command: Command, home: &Path) -> Command {
    command
        .stdin(Stdio::null())
        .env("ONDOL_HOME", home)
        .env_remove("ONDOL_CATALOG")
        .env_remove("ONDOL_NO_PACK")
        .env_remove("ONDOL_PACK_LIMIT")
        .env_remove("HF_ENDPOINT")
        .env_remove("ONDOL_KERNELS");
    for proxy in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
    ] {
        command.env_remove(proxy);
    }
    command
}

/// What an ended command said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs to the end.
pub fn run(command: &mut Command) -> Said {
    said(command.output().unwrap())
}

/// Runs to the end, with this on standard input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Said {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    said(child.wait_with_output().unwrap())
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    /// Fails the test with all that was said unless the exit code is this.
    #[track_caller]
    pub fn expect(self, code: i32) -> Said {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }

    /// Fails the test unless standard error has this text.
    #[track_caller]
    pub fn complains(self, text: &str) -> Said {
        assert!(
            self.err.contains(text),
            "no {text:?} in stderr:\n{}",
            self.err
        );
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

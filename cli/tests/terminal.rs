//! The chat of `ondol run`, on a pseudo terminal.

#![cfg(unix)]

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{folder, ondol};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What a busy machine may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command on a terminal of its own.
struct Typist {
    child: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    /// All that was shown.
    seen: String,
    /// As far as was waited for.
    at: usize,
}

impl Typist {
    fn start(command: &mut Command) -> Typist {
        Typist::start_as(command, "xterm")
    }

    fn start_as(command: &mut Command, kind: &str) -> Typist {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 200,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&keys, size).unwrap();
        let path = PathBuf::from(ptsname(&keys, Vec::new()).unwrap().into_string().unwrap());
        let terminal = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .unwrap()
        };
        command
            .env("TERM", kind)
            .stdin(terminal())
            .stdout(terminal())
            .stderr(terminal());
        let child = command.spawn().unwrap();
        let keys = File::from(keys);
        let (send, screen) = channel();
        let mut shown = keys.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends when nobody has the terminal any more.
            while let Ok(n) = shown.read(&mut buffer) {
                if n == 0 || send.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Typist {
            child,
            keys,
            screen,
            seen: String::new(),
            at: 0,
        }
    }

    fn types(&mut self, keys: impl AsRef<[u8]>) -> &mut Typist {
        self.keys.write_all(keys.as_ref()).unwrap();
        self
    }

    /// Waits until this is shown, after what was waited for before.
    #[track_caller]
    fn sees(&mut self, text: &str) -> &mut Typist {
        let began = Instant::now();
        loop {
            if let Some(found) = self.seen[self.at..].find(text) {
                self.at += found + text.len();
                return self;
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            match self.screen.recv_timeout(left) {
                // The tests read ASCII, or whole answers.
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text:?} in {:?}", &self.seen[self.at..]),
            }
        }
    }

    /// Sends a signal.
    fn signals(&mut self, signal: Signal) -> &mut Typist {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        self
    }

    #[track_caller]
    fn ends(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it goes on: {:?}", self.seen);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the terminal gives keys as they come, and does not echo them.
    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.keys).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A chat without a template, with a token for each byte of the input, and one of the answer.
fn bytes(home: &Path) -> Command {
    fs::write(home.join("model.gguf"), tiny::model()).unwrap();
    let mut command = ondol(home);
    command.current_dir(home).args([
        "run",
        "model.gguf",
        "--raw",
        "--max-tokens",
        "1",
        "--threads",
        "1",
    ]);
    command
}

const READY: &str = "is ready; /help lists its commands";

/// The lines come faster than they are answered: none is lost.
#[test]
fn lines_typed_ahead_are_answered_in_order() {
    let home = folder("ahead");
    let mut chat = Typist::start(ondol(&home).args(["run", "hello", "--temperature", "0"]));
    chat.types("Hello!\nWhat is ondol?\n").sees(READY);
    chat.types("What is the capital of Japan?\r");
    chat.sees("Hello!").sees("floor").sees("Tokyo");
    chat.types("/exit\r");
    assert_eq!(chat.ends().code(), Some(0));
}

#[test]
fn a_backslash_goes_on_where_it_was_typed_and_stays_where_it_was_pasted() {
    let home = folder("backslash");
    let mut chat = Typist::start(&mut bytes(&home));
    // `ab`, a line break, `cd`.
    chat.sees(READY).sees(">>> ").types("ab\\\rcd\r/stats\r");
    // Between two prompts the terminal itself would change the line breaks of a paste.
    chat.sees("prompt 5 tokens").sees(">>> ");
    // Three lines, the first two with a backslash, and the last with one too: one input.
    chat.types("\x1b[200~a\\\r\nb\\\r\nc\\\x1b[201~")
        .types("\r/stats\r");
    chat.sees("prompt 8 tokens").sees(">>> ");
    // In the middle of a line it is a character as any.
    chat.types("a\\b\r/stats\r").sees("prompt 3 tokens");
    chat.types("/exit\r");
    assert_eq!(chat.ends().code(), Some(0));
    let history = fs::read_to_string(home.join("history.txt")).unwrap();
    assert!(history.contains(r"a\\\nb\\\nc\\"), "{history}");
}

#[test]
fn a_line_that_is_not_utf_8_is_left_out() {
    for kind in ["xterm", "dumb"] {
        let home = folder(&format!("latin-1-{kind}"));
        let mut chat = Typist::start_as(&mut bytes(&home), kind);
        chat.sees(READY).sees(">>> ").types(b"caf\xe9\r");
        chat.sees("not UTF-8").sees(">>> ").types("abcd\r/stats\r");
        chat.sees("prompt 4 tokens").types("/exit\r");
        assert_eq!(chat.ends().code(), Some(0));
    }
}

#[test]
fn a_dumb_terminal_gives_whole_lines() {
    let home = folder("dumb");
    let mut command = bytes(&home);
    let mut chat = Typist::start_as(&mut command, "dumb");
    chat.sees(READY).types("ab\\\ncd\n/stats\n");
    chat.sees("prompt 5 tokens").types("/exit\n");
    assert_eq!(chat.ends().code(), Some(0));
}

/// The terminal is as it was, and the last line is in the history.
#[test]
fn a_chat_that_is_ended_gives_the_terminal_back() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let home = folder(&format!("ended-{code}"));
        let mut chat = Typist::start(&mut bytes(&home));
        assert!(!chat.is_raw());
        chat.sees(READY)
            .sees(">>> ")
            .types("some line\r")
            .sees(">>> ");
        assert!(chat.is_raw());
        chat.signals(signal);
        assert_eq!(chat.ends().code(), Some(code));
        assert!(!chat.is_raw());
        let history = fs::read_to_string(home.join("history.txt")).unwrap();
        assert!(history.contains("some line"), "{history}");
    }
}

/// While an answer is written the terminal is not the editor's.
#[test]
fn an_answer_that_is_ended_leaves_no_mark() {
    let home = folder("ended-answer");
    fs::write(home.join("model.gguf"), tiny::model()).unwrap();
    let mut command = ondol(&home);
    command.current_dir(&home);
    command.args([
        "run",
        "model.gguf",
        "--raw",
        "--temperature",
        "0",
        "--ctx",
        "200000",
        "--threads",
        "1",
    ]);
    let mut chat = Typist::start(&mut command);
    chat.sees(READY)
        .sees(">>> ")
        .types("ab\r")
        .sees("\x1b[?2004l\r\n");
    chat.signals(Signal::TERM);
    assert_eq!(chat.ends().code(), Some(143));
    assert!(!chat.is_raw());
}

#[test]
fn a_terminal_of_another_size_goes_on() {
    let home = folder("resize");
    let mut chat = Typist::start(&mut bytes(&home));
    chat.sees(READY).sees(">>> ").types("ab");
    let narrow = Winsize {
        ws_row: 5,
        ws_col: 12,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&chat.keys, narrow).unwrap();
    chat.signals(Signal::WINCH).types("cd\r/stats\r");
    chat.sees("prompt 4 tokens").types("/exit\r");
    assert_eq!(chat.ends().code(), Some(0));
}

#[test]
fn a_model_without_a_template_says_so_before_the_chat() {
    let home = folder("base");
    fs::write(home.join("model.gguf"), tiny::model()).unwrap();
    let mut command = ondol(&home);
    command.current_dir(&home).args(["run", "model.gguf"]);
    let mut chat = Typist::start(&mut command);
    chat.sees("model.gguf has no chat template").sees(READY);
    chat.types("/exit\r");
    assert_eq!(chat.ends().code(), Some(0));
}

/// A device that is slower than the CPU says so in red, unless no colours are wanted.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_slow_device_is_red() {
    let (home, plugin) = (folder("red"), ondol_tests::softnpu::slow_for("red", "true"));
    let bench = || {
        let mut command = ondol(&home);
        command.args(["bench", "hello", "--auto", "-p", "64", "-n", "4", "-r", "1"]);
        command.arg("--delegate").arg(&plugin);
        command.env_remove("NO_COLOR");
        command
    };
    let mut typist = Typist::start(&mut bench());
    typist
        .sees("\x1b[31mdecode")
        .sees("slower than the CPU\x1b[0m");
    assert!(typist.ends().success());
    let mut typist = Typist::start(bench().env("NO_COLOR", "1"));
    typist.sees("slower than the CPU").sees("kept:");
    assert!(typist.ends().success());
    assert!(!typist.seen.contains("\x1b[31m"), "{:?}", typist.seen);
}

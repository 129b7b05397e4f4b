//! The terminal of a chat: line editor, history, and restoring its state at the end.

use crate::error::{Error, Result};
use crate::home::Home;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, Helper,
    KeyCode, KeyEvent, Modifiers, Movement, RepeatCount,
};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// The line editor with its history.
pub struct Terminal {
    editor: Editor<Lines, FileHistory>,
    history: Option<PathBuf>,
    lines: Lines,
    interrupted: bool,
}

impl Terminal {
    /// Opens the line editor. SIGTERM and SIGHUP restore the terminal and end the program.
    pub fn open() -> Result<Terminal> {
        #[cfg(unix)]
        signals::give_back_when_ended()?;
        let failed = |e: ReadlineError| Error::Terminal(e.to_string());
        let config = Config::builder().auto_add_history(true).build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        let lines = Lines::default();
        editor.set_helper(Some(lines.clone()));
        lines.bind(&mut editor);
        // A history that can't be read or kept is no reason not to chat.
        let home = Home::find().ok().filter(|home| home.create().is_ok());
        let history = home.map(|home| home.history());
        if let Some(path) = &history {
            let _ = editor.load_history(path);
        }
        Ok(Terminal {
            editor,
            history,
            lines,
            interrupted: false,
        })
    }

    /// The next input; `None` when the user leaves.
    pub fn read(&mut self) -> Result<Option<String>> {
        loop {
            match self.editor.readline(">>> ") {
                Ok(input) => {
                    self.interrupted = false;
                    self.keep_history();
                    return Ok(Some(self.lines.joined(input)));
                }
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted) if self.interrupted => return Ok(None),
                Err(ReadlineError::Interrupted) => {
                    self.interrupted = true;
                    note!("Ctrl-C again leaves");
                }
                Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                    note!("this line is not UTF-8 and is left out; the terminal has to send UTF-8");
                }
                Err(error) => return Err(Error::Terminal(error.to_string())),
            }
        }
    }

    /// Saves the history after each line, so that no end of the chat loses it.
    fn keep_history(&mut self) {
        if let Some(path) = &self.history {
            let _ = self.editor.append_history(path);
        }
    }
}

/// Continues an input in the next line if it ends with a backslash that was typed;
/// pasted text may contain such lines.
#[derive(Clone, Default)]
struct Lines {
    /// Where the line ended after the last backslash that was typed.
    typed: Arc<AtomicUsize>,
    /// Whether keys arrive one by one. On a dumb terminal whole lines arrive, without
    /// the editor, and typed and pasted text can't be told apart.
    has_keys: Arc<AtomicBool>,
}

impl Lines {
    fn bind(&self, editor: &mut Editor<Lines, FileHistory>) {
        // Enter comes as Ctrl-J where it was typed ahead, while an answer was written.
        let enter = KeyEvent(KeyCode::Enter, Modifiers::NONE);
        for key in [KeyEvent::from('\\'), enter, KeyEvent::ctrl('J')] {
            editor.bind_sequence(key, EventHandler::Conditional(Box::new(self.clone())));
        }
        editor.bind_sequence(
            KeyEvent(KeyCode::Enter, Modifiers::ALT),
            EventHandler::Simple(Cmd::Newline),
        );
    }

    /// Joins the lines of a dumb terminal's input.
    fn joined(&self, input: String) -> String {
        match self.has_keys.load(Relaxed) {
            true => input,
            false => input.replace("\\\n", "\n"),
        }
    }
}

impl ConditionalEventHandler for Lines {
    fn handle(
        &self,
        event: &Event,
        _: RepeatCount,
        _: bool,
        context: &EventContext,
    ) -> Option<Cmd> {
        self.has_keys.store(true, Relaxed);
        if event.get(0) == Some(&KeyEvent::from('\\')) {
            self.typed.store(context.pos() + 1, Relaxed);
            return None;
        }
        let end = context.line().len();
        let goes_on = context.line().ends_with('\\')
            && context.pos() == end
            && self.typed.load(Relaxed) == end;
        goes_on.then(|| Cmd::Replace(Movement::BackwardChar(1), Some("\n".to_owned())))
    }
}

impl Validator for Lines {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let goes_on = !self.has_keys.load(Relaxed) && context.input().ends_with('\\');
        Ok(match goes_on {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl Completer for Lines {
    type Candidate = String;
}
impl Hinter for Lines {
    type Hint = String;
}
impl Highlighter for Lines {}
impl Helper for Lines {}

#[cfg(unix)]
mod signals {
    use crate::error::{Error, Result};
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
    use signal_hook::consts::{SIGHUP, SIGTERM};
    use signal_hook::iterator::Signals;
    use std::io::{stdin, stdout};

    /// Ends the program as the signals do by default, with the terminal as it is now.
    pub fn give_back_when_ended() -> Result<()> {
        let failed = |e: std::io::Error| Error::Terminal(e.to_string());
        let before = tcgetattr(stdin()).map_err(|e| failed(e.into()))?;
        let mut signals = Signals::new([SIGTERM, SIGHUP]).map_err(failed)?;
        let wait = move || {
            if let Some(signal) = signals.forever().next() {
                give_back(&before);
                // Shells report this code for a program that a signal ended.
                std::process::exit(128 + signal);
            }
        };
        let thread = std::thread::Builder::new().spawn(wait);
        thread.map(drop).map_err(|source| Error::NoThread {
            purpose: "watch for signals",
            source,
        })
    }

    /// Restores the terminal; does nothing if it is gone, as after SIGHUP.
    fn give_back(before: &Termios) {
        let is_raw = |now: Termios| !now.local_modes.contains(LocalModes::ICANON);
        if tcgetattr(stdin()).is_ok_and(is_raw) {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
            // Ends bracketed paste. Written directly, because a thread that writes an answer
            // may hold the lock of standard output.
            let _ = rustix::io::write(stdout(), b"\x1b[?2004l\r\n");
        }
    }
}

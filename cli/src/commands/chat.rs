//! The conversation of `ondol run MODEL` on a terminal.

use crate::answer::{self, Figures};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::{model, output};
use ondol::{CancelToken, GenerateOptions, Message, Session};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Cmd, Config, Editor, EventHandler, Helper, KeyCode, KeyEvent, Modifiers};
use std::path::PathBuf;

const HELP: &str = "\
/reset  forget the conversation
/stats  figures of the last answer
/help   this list
/exit   leave (so does Ctrl-D)
A line that ends with \\ goes on in the next one; Alt-Enter begins a new line.
Ctrl-C stops an answer; at the prompt, twice, it leaves.";

/// A conversation and what it runs on.
pub struct Chat<'a> {
    /// Holds the conversation's cache, so that a turn costs its new tokens only.
    pub session: Session,
    /// The model as the user named it.
    pub name: &'a str,
    /// What the model is told before the conversation.
    pub system: Option<&'a str>,
    /// Complete each input on its own, without a template.
    pub raw: bool,
    /// Sampling and limits of each answer.
    pub options: GenerateOptions,
    /// What Ctrl-C cancels.
    pub cancel: CancelToken,
}

impl Chat<'_> {
    /// Reads and answers until the user leaves.
    pub fn run(mut self) -> Result<()> {
        let mut terminal = Terminal::open()?;
        eprintln!("{} is ready; /help lists what it knows", self.name);
        let mut messages = self.first_messages();
        let mut last: Option<Figures> = None;
        while let Some(input) = terminal.read()? {
            match input.trim() {
                "" => {}
                "/exit" => break,
                "/help" => output::line(HELP)?,
                "/stats" => match &last {
                    Some(figures) => output::line(figures)?,
                    None => output::line("there is no answer yet")?,
                },
                "/reset" => {
                    messages = self.first_messages();
                    self.session.clear();
                }
                command if command.starts_with('/') && !command.contains(char::is_whitespace) => {
                    output::line(format!("{command} is unknown; /help lists what there is"))?;
                }
                _ => last = self.turn(&mut messages, &input)?.or(last),
            }
        }
        terminal.save();
        Ok(())
    }

    fn first_messages(&self) -> Vec<Message> {
        self.system.into_iter().map(Message::system).collect()
    }

    /// Answers one input. What goes wrong is said, and the chat goes on; a turn without an answer is forgotten.
    fn turn(&mut self, messages: &mut Vec<Message>, input: &str) -> Result<Option<Figures>> {
        messages.push(Message::user(input));
        let outcome = self.answer(messages, input);
        output::line("")?;
        match outcome {
            Ok(answer) => {
                messages.push(Message::assistant(answer.text).with_ids(answer.tokens));
                if answer.finish_reason == "context_full" {
                    eprintln!(
                        "the context is full: /reset begins anew, --ctx asks for a longer one"
                    );
                }
                Ok(Some(answer.stats))
            }
            Err(error @ Error::Standard { .. }) => Err(error),
            Err(error) => {
                messages.pop();
                eprintln!("error: {error}");
                if matches!(
                    error,
                    Error::Runtime {
                        source: ondol::Error::ContextFull { .. },
                        ..
                    }
                ) {
                    eprintln!("hint: /reset begins anew, --ctx asks for a longer context");
                }
                Ok(None)
            }
        }
    }

    fn answer(&mut self, messages: &[Message], input: &str) -> Result<answer::Answer> {
        let model = self.session.model().clone();
        let tokens = match self.raw {
            true => model.encode_prompt(input),
            false => model
                .encode_chat(messages)
                .map_err(model::runtime_error(self.name))?,
        };
        self.cancel.reset();
        answer::generate(
            &mut self.session,
            self.name,
            &tokens,
            &self.options,
            &self.cancel,
            output::stream,
        )
    }
}

/// The line editor with its history.
struct Terminal {
    editor: Editor<Lines, FileHistory>,
    history: Option<PathBuf>,
    interrupted: bool,
}

impl Terminal {
    fn open() -> Result<Terminal> {
        let failed = |e: ReadlineError| Error::Terminal(e.to_string());
        let config = Config::builder().auto_add_history(true).build();
        let mut editor = Editor::<Lines, FileHistory>::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Lines));
        editor.bind_sequence(
            KeyEvent(KeyCode::Enter, Modifiers::ALT),
            EventHandler::Simple(Cmd::Newline),
        );
        // A history that can't be read or kept is no reason not to chat.
        let home = Home::find().ok().filter(|home| home.create().is_ok());
        let history = home.map(|home| home.history());
        if let Some(path) = &history {
            let _ = editor.load_history(path);
        }
        Ok(Terminal {
            editor,
            history,
            interrupted: false,
        })
    }

    /// The next input; `None` when the user leaves.
    fn read(&mut self) -> Result<Option<String>> {
        loop {
            match self.editor.readline(">>> ") {
                Ok(input) => {
                    self.interrupted = false;
                    return Ok(Some(input.replace("\\\n", "\n")));
                }
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted) if self.interrupted => return Ok(None),
                Err(ReadlineError::Interrupted) => {
                    self.interrupted = true;
                    eprintln!("Ctrl-C again leaves");
                }
                Err(error) => return Err(Error::Terminal(error.to_string())),
            }
        }
    }

    fn save(&mut self) {
        if let Some(path) = &self.history {
            let _ = self.editor.save_history(path);
        }
    }
}

/// Lets an input that ends with a backslash go on in the next line.
struct Lines;

impl Validator for Lines {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match ctx.input().ends_with('\\') {
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

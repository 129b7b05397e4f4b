//! The conversation of `ondol run MODEL` on a terminal.

use crate::answer::{self, Figures};
use crate::error::{Error, Result};
use crate::terminal::Terminal;
use crate::{model, output};
use ondol::models::template::TemplateOrigin;
use ondol::{CancelToken, GenerateOptions, Message, Model, Session};

const HELP: &str = "\
/reset  forget the conversation
/stats  figures of the last answer
/help   this list
/exit   leave (so does Ctrl-D)
A typed line that ends with \\ goes on in the next one; Alt-Enter begins a new line.
Pasted text of several lines is one input.
Ctrl-C stops an answer; at the prompt, twice, it leaves.";

/// A conversation, its session and its options.
pub struct Chat<'a> {
    /// Has the conversation's cache, so that a turn only runs its new tokens.
    pub session: Session,
    /// The model as the user named it.
    pub name: &'a str,
    /// The system message.
    pub system: Option<&'a str>,
    /// Complete each input on its own, without a template.
    pub raw: bool,
    /// Sampling and limits of each answer.
    pub options: GenerateOptions,
    /// What Ctrl-C cancels.
    pub cancel: CancelToken,
}

/// Tells the user that a model has no template of its own, so that its answers may be poor.
pub fn say_if_guessed(model: &Model, name: &str) {
    let guess = match model.chat_template().origin() {
        TemplateOrigin::File => return,
        TemplateOrigin::Guess(family) => format!("that of {family} is guessed from its vocabulary"),
        TemplateOrigin::Plain => "each turn begins with the speaker's name".to_owned(),
    };
    note!("{name} has no chat template: {guess} (--raw completes the text without one)");
}

impl Chat<'_> {
    /// Reads and answers until the user leaves.
    pub fn run(mut self) -> Result<()> {
        let mut terminal = Terminal::open()?;
        if !self.raw {
            say_if_guessed(self.session.model(), self.name);
        }
        note!("{} is ready; /help lists its commands", self.name);
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
                    output::line(format!("{command} is unknown; /help lists the commands"))?;
                }
                _ => last = self.turn(&mut messages, &input)?.or(last),
            }
        }
        Ok(())
    }

    fn first_messages(&self) -> Vec<Message> {
        self.system.into_iter().map(Message::system).collect()
    }

    /// Answers one input. An error is shown, and the chat continues; a turn without an
    /// answer is dropped.
    fn turn(&mut self, messages: &mut Vec<Message>, input: &str) -> Result<Option<Figures>> {
        messages.push(Message::user(input));
        let outcome = self.answer(messages, input);
        output::line("")?;
        match outcome {
            Ok(answer) if answer.tokens.is_empty() && answer.finish_reason == "cancelled" => {
                messages.pop();
                Error::Cancelled.say();
                Ok(None)
            }
            Ok(answer) => {
                messages.push(Message::assistant(answer.text).with_ids(answer.tokens));
                if answer.finish_reason == "context_full" {
                    note!(
                        "the context is full: /reset starts a new conversation; --ctx sets a \
                         longer context"
                    );
                }
                Ok(Some(answer.stats))
            }
            Err(error @ Error::Standard { .. }) => Err(error),
            Err(error) => {
                messages.pop();
                error.say();
                if matches!(
                    error,
                    Error::Runtime {
                        source: ondol::Error::ContextFull { .. },
                        ..
                    }
                ) {
                    note!("hint: /reset starts a new conversation; --ctx sets a longer context");
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

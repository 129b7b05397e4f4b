//! `ondol run MODEL [PROMPT]`.

use super::chat::{Chat, say_if_guessed};
use crate::answer::{self, Answer};
use crate::delegate::{DelegateArgs, DelegateFigures};
use crate::engine::{EngineArgs, Screen, at_least_one};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::packed::PackArgs;
use crate::{model, numbers, output, text};
use ondol::models::template::TemplateOrigin;
use ondol::{GenerateOptions, Message, Model, SamplerOptions, SessionOptions};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Arguments of `ondol run`.
#[derive(clap::Args)]
#[command(after_help = "\
Without PROMPT, on a terminal, it starts a chat (/help lists its commands). Piped text, without its
last line break, is the prompt, or follows PROMPT after a blank line; `< /dev/null` prevents that.
Ctrl-C stops an answer. The prompt is formatted with the model's chat template; a model without one
completes the text, as with --raw.

Examples:
  ondol run hello \"안녕하세요\"
  ondol run smollm2
  ondol run smollm2 \"Name three rivers.\" --temperature 0 --max-tokens 60 --json
  cat letter.txt | ondol run gemma3-270m --raw --max-tokens 100
  cat letter.txt | ondol run gemma3-270m \"Sum this letter up.\"
  ondol run model.gguf --system \"Answer in Korean.\" --ctx 2048")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    model: String,
    /// The prompt
    prompt: Option<String>,
    /// The system message: instructions for the whole conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Complete the text, without a chat template
    #[arg(long)]
    raw: bool,
    /// Context in tokens [default: the model's training context, at most 4096]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    ctx: Option<usize>,
    /// Draft at most N tokens per pass by prompt lookup; 0 is off. The answer is the
    /// same [default: 7]
    #[arg(long, value_name = "N", value_parser = numbers::count)]
    drafts: Option<usize>,
    /// The most tokens of an answer [default: until the model ends it]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_tokens: Option<usize>,
    /// End the answer before this text; may be repeated
    #[arg(long, value_name = "TEXT", value_parser = stop)]
    stop: Vec<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    delegate: DelegateArgs,
    #[command(flatten)]
    pack: PackArgs,
    /// If the packed copy has a screen of the output head, its margin in standard
    /// deviations; `off` computes every logit
    #[arg(long, value_name = "X|off", default_value = "6")]
    screen: Screen,
    /// Print one JSON object: text, tokens, finish_reason, stats
    #[arg(long)]
    json: bool,
}

/// How the next token is sampled.
#[derive(clap::Args)]
#[command(next_help_heading = "Sampling")]
struct SamplingArgs {
    /// Temperature: 0 always takes the likeliest token, higher values vary more
    #[arg(long, value_name = "X", value_parser = numbers::at_least_zero::<f32>)]
    temperature: Option<f32>,
    /// Sample from the N likeliest tokens; 0 is all
    #[arg(long, value_name = "N", value_parser = numbers::count)]
    top_k: Option<usize>,
    /// Sample from the likeliest tokens whose probabilities add up to P
    #[arg(long, value_name = "P", value_parser = numbers::share_above_zero::<f32>)]
    top_p: Option<f32>,
    /// Leave out tokens whose probability is less than P times that of the likeliest
    #[arg(long, value_name = "P", value_parser = numbers::share::<f32>)]
    min_p: Option<f32>,
    /// Divide positive and multiply negative logits of recent tokens by X; 1 is off
    #[arg(long, value_name = "X", value_parser = numbers::above_zero::<f32>)]
    repeat_penalty: Option<f32>,
    /// Subtract X from a recent token's logit for each time it occurs
    #[arg(long, value_name = "X", value_parser = numbers::any::<f32>)]
    frequency_penalty: Option<f32>,
    /// Subtract X once from the logit of recent tokens
    #[arg(long, value_name = "X", value_parser = numbers::any::<f32>)]
    presence_penalty: Option<f32>,
    /// Random seed: the same seed gives the same answer; -1 uses another one each time
    #[arg(long, value_name = "N", default_value = "-1", value_parser = seed)]
    seed: u64,
}

impl SamplingArgs {
    /// The runtime's defaults, changed by the given options.
    fn options(&self) -> SamplerOptions {
        let defaults = SamplerOptions::default();
        SamplerOptions {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: self.repeat_penalty.unwrap_or(defaults.repetition_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(defaults.frequency_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(defaults.presence_penalty),
            seed: self.seed,
            ..defaults
        }
    }
}

/// Parses a stop string.
fn stop(text: &str) -> Result<String, String> {
    match text {
        "" => Err("an empty text can't be found in an answer; give the text to stop at".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// The seed; for -1 a random one, from the keys that the system gives hash maps.
fn seed(text: &str) -> Result<u64, String> {
    match text {
        "-1" => Ok(RandomState::new().build_hasher().finish()),
        text => text
            .parse()
            .map_err(|_| "a whole number from 0 to 2^64 - 1, or -1, is needed".to_owned()),
    }
}

/// Answers and ends, or chats.
pub fn run(args: &Args) -> Result<()> {
    let prompt = prompt(args)?;
    if prompt.is_none() && args.json {
        return Err(Error::Usage(
            "--json needs a prompt: give one, or pipe it in".to_owned(),
        ));
    }
    let model = match args.pack.no_pack {
        true => model::open(&args.model)?,
        false => model::open_packed(&args.model, &args.pack.limit)?,
    };
    let mut engine = SessionOptions {
        screen: args.screen.0,
        ..args.engine.options(args.ctx)
    };
    engine.drafts = args.drafts.unwrap_or(engine.drafts);
    engine.offload = args.delegate.fastest(&model, &args.model, &engine)?;
    let session = model.session(&engine);
    let mut session = session.map_err(model::runtime_error(&args.model))?;
    let options = GenerateOptions {
        sampler: args.sampling.options(),
        max_tokens: args.max_tokens,
        stop: args.stop.clone(),
        ..GenerateOptions::default()
    };
    let cancel = interrupt::cancel_on_ctrl_c()?;
    let trained = model.graph().trained_context;
    if session.context() > trained {
        note!(
            "{} was trained for {trained} tokens of context: beyond them answers may make no sense",
            args.model
        );
    }
    let Some(prompt) = prompt else {
        return Chat {
            session,
            name: &args.model,
            system: args.system.as_deref(),
            raw: args.raw,
            options,
            cancel,
        }
        .run();
    };
    let tokens = encode(args, &model, &prompt)?;
    let show = |text: &str| {
        if args.json {
            Ok(())
        } else {
            output::stream(text)
        }
    };
    let answer = answer::generate(&mut session, &args.model, &tokens, &options, &cancel, show)?;
    finish(args, &answer)
}

/// The prompt: the argument, the piped text, or both in this order; `None` means a chat.
fn prompt(args: &Args) -> Result<Option<String>> {
    let Some(prompt) = &args.prompt else {
        if text::is_typed() {
            return Ok(None);
        }
        let piped = text::read_stdin()?;
        return match without_line_break(&piped) {
            "" => Err(Error::Usage(
                "the prompt is empty: nothing came from standard input".to_owned(),
            )),
            prompt => Ok(Some(prompt.to_owned())),
        };
    };
    let piped = text::read_piped()?;
    Ok(Some(match (prompt.as_str(), without_line_break(&piped)) {
        (prompt, "") => prompt.to_owned(),
        ("", piped) => piped.to_owned(),
        (prompt, piped) => format!("{prompt}\n\n{piped}"),
    }))
}

/// Removes the last line break, which belongs to the file and not to its text.
fn without_line_break(text: &str) -> &str {
    let break_of = |text: &str| ["\r\n", "\n"].into_iter().find(|end| text.ends_with(end));
    &text[..text.len() - break_of(text).map_or(0, str::len)]
}

/// The prompt's tokens.
///
/// A template that was only guessed from the vocabulary is not used for a prompt: base
/// models also have the control tokens of their chat models.
fn encode(args: &Args, model: &Model, prompt: &str) -> Result<Vec<u32>> {
    let has_template = matches!(model.chat_template().origin(), TemplateOrigin::File);
    if args.raw || (!has_template && args.system.is_none()) {
        if !args.raw {
            note!(
                "{} has no chat template: it completes the text (--raw says so without this line)",
                args.model
            );
        }
        return Ok(model.encode_prompt(prompt));
    }
    say_if_guessed(model, &args.model);
    let system = args.system.iter().map(Message::system);
    let messages: Vec<Message> = system.chain([Message::user(prompt)]).collect();
    model
        .encode_chat(&messages)
        .map_err(model::runtime_error(&args.model))
}

fn finish(args: &Args, answer: &Answer) -> Result<()> {
    let cancelled_before = answer.finish_reason == "cancelled" && answer.text.is_empty();
    if args.json {
        output::json(answer)?;
    } else if !answer.text.ends_with('\n') && !cancelled_before {
        output::line("")?;
    }
    if !args.json {
        answer.delegate.iter().for_each(DelegateFigures::say);
        if answer.finish_reason == "context_full" {
            note!("the context is full and the answer is cut: --ctx sets a longer one");
        }
    }
    match answer.finish_reason {
        "cancelled" => Err(Error::Cancelled),
        _ => Ok(()),
    }
}

//! `ondol perplexity MODEL -f TEXT`.

use crate::delegate::{DelegateArgs, DelegateFigures};
use crate::engine::{EngineArgs, at_least_one};
use crate::error::{Error, Result};
use crate::likelihood::{argmax, log_sum_exp, no_score};
use crate::progress::Progress;
use crate::{model, output, text};
use ondol::{CancelToken, SessionOptions};
use serde::Serialize;
use std::path::PathBuf;

/// Rows of logits at a time: enough to pay for reading the output head, and 34 MB for a
/// vocabulary of 262,144.
const SCORE_ROWS: usize = 32;

/// Arguments of `ondol perplexity`.
#[derive(clap::Args)]
#[command(after_help = "\
The first tokens of the text are run as one sequence; every token except the first is predicted from
those before it. perplexity = exp(mean_nll); top1 is the share of tokens that were the likeliest.

Examples:
  ondol perplexity smollm2 -f text.txt
  ondol perplexity model.gguf -f text.txt --tokens 512 --kernels exact --json")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    model: String,
    /// The text, UTF-8 with or without a byte order mark
    #[arg(long, short, value_name = "TEXT")]
    file: PathBuf,
    /// The most tokens of the text to use
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = at_least_one)]
    tokens: usize,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    delegate: DelegateArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The measurements.
#[derive(Serialize)]
struct Report {
    tokens: usize,
    mean_nll: f64,
    perplexity: f64,
    top1: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegate: Option<DelegateFigures>,
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<()> {
    let text = text::read_file(&args.file)?;
    let model = model::open(&args.model)?;
    let mut tokens = model.encode_prompt(&text);
    tokens.truncate(args.tokens);
    if tokens.len() < 2 {
        return Err(Error::TooShort {
            what: args.file.display().to_string(),
            have: tokens.len(),
            needed: 2,
        });
    }
    let options = SessionOptions {
        score_rows: SCORE_ROWS,
        offload: args.delegate.offload(&model, &args.model)?,
        ..args.engine.options(Some(tokens.len()))
    };
    let mut session = model
        .session(&options)
        .map_err(model::runtime_error(&args.model))?;
    let progress = Progress::pieces("perplexity", tokens.len() as u64);
    let (mut nll, mut right) = (0.0, 0_usize);
    let each = |index: usize, logits: &[f32]| {
        progress.add(1);
        let Some(&next) = tokens.get(index + 1) else {
            return;
        };
        nll += log_sum_exp(logits) - f64::from(logits[next as usize]);
        right += usize::from(argmax(logits) == next);
    };
    session
        .score(&tokens, &CancelToken::new(), each)
        .map_err(model::runtime_error(&args.model))?;
    progress.finish();
    let predicted = (tokens.len() - 1) as f64;
    let mean_nll: f64 = nll / predicted;
    if !mean_nll.is_finite() {
        return Err(model::runtime_error(&args.model)(no_score()));
    }
    print(
        args,
        &Report {
            tokens: tokens.len(),
            mean_nll,
            perplexity: mean_nll.exp(),
            top1: right as f64 / predicted,
            delegate: DelegateFigures::of(&session),
        },
    )
}

fn print(args: &Args, report: &Report) -> Result<()> {
    if args.json {
        return output::json(report);
    }
    report.delegate.iter().for_each(DelegateFigures::say);
    output::line(format!("tokens      {}", report.tokens))?;
    output::line(format!("mean nll    {:.6}", report.mean_nll))?;
    output::line(format!("perplexity  {:.5}", report.perplexity))?;
    output::line(format!("top-1       {:.2} %", report.top1 * 100.0))
}

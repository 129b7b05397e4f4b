//! `ondol record MODEL PROMPTS -o OUT`.

use crate::engine::{EngineArgs, at_least_one};
use crate::error::{Error, Result};
use crate::likelihood;
use crate::model;
use crate::outfile::Outfile;
use crate::progress::Progress;
use crate::record::{self, Record, Step, TOP};
use ondol::{CancelToken, Session};
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `ondol record`.
#[derive(clap::Args)]
#[command(after_help = "\
PROMPTS has one prompt per line, or one JSON object with \"prompt\" per line (for prompts with line
breaks). Prompts are raw text, without a chat template. `ondol agree` compares any engine with the
record.

Examples:
  ondol record smollm2 prompts.txt -o smollm2.jsonl
  ondol record model-f16.gguf prompts.jsonl -n 48 --kernels exact -o truth.jsonl")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    model: String,
    /// The prompts
    prompts: PathBuf,
    /// The most greedy steps for each prompt
    #[arg(short = 'n', long, value_name = "N", default_value_t = 48, value_parser = at_least_one)]
    steps: usize,
    /// The file to write
    #[arg(short, long, value_name = "OUT.jsonl")]
    output: PathBuf,
    /// Replace OUT.jsonl if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Writes the record.
pub fn run(args: &Args) -> Result<()> {
    let prompts = record::read_prompts(&args.prompts)?;
    let model = model::open(&args.model)?;
    let mut inputs = model::paths(&args.model)?;
    inputs.push(args.prompts.clone());
    let mut out = Outfile::create(&args.output, args.force, &inputs)?;
    let prompts: Vec<(String, Vec<u32>)> = prompts
        .into_iter()
        .map(|prompt| (prompt.clone(), model.encode_prompt(&prompt)))
        .collect();
    let longest = prompts.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
    let mut session = args
        .engine
        .session(&model, &args.model, Some(longest + args.steps))?;
    let progress = Progress::pieces("recording", prompts.len() as u64);
    let mut records = Vec::with_capacity(prompts.len());
    for (prompt, prompt_ids) in prompts {
        records.push(
            answer(&mut session, prompt, prompt_ids, args.steps)
                .map_err(model::runtime_error(&args.model))?,
        );
        progress.add(1);
    }
    progress.finish();
    out.write_all(record::to_lines(&records).as_bytes())
        .map_err(Error::file("write", &args.output))?;
    out.commit().map(drop)
}

/// Greedy steps up to `steps`, or to an end-of-generation token, which is the last one recorded.
fn answer(
    session: &mut Session,
    prompt: String,
    prompt_ids: Vec<u32>,
    steps: usize,
) -> ondol::Result<Record> {
    let model = session.model().clone();
    let tokenizer = model.tokenizer();
    session.clear();
    let mut top = likelihood::top(session.prefill(&prompt_ids, &CancelToken::new())?, TOP)?;
    let (mut taken, mut text) = (Vec::new(), Vec::new());
    while let Some(&(id, _)) = top.first() {
        taken.push(Step {
            id,
            top: top
                .iter()
                .map(|&(id, lnp)| (id, five_decimals(lnp)))
                .collect(),
        });
        if tokenizer.is_end_of_generation(id) {
            break;
        }
        tokenizer.piece(id, &mut text);
        if taken.len() == steps {
            break;
        }
        top = likelihood::top(session.decode(id)?, TOP)?;
    }
    Ok(Record {
        prompt: Some(prompt),
        prompt_ids,
        text: String::from_utf8_lossy(&text).into_owned(),
        steps: taken,
    })
}

fn five_decimals(lnp: f64) -> f64 {
    (lnp * 1e5).round() / 1e5
}

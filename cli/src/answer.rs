//! One answer: its text as it is generated, and its statistics.

use crate::delegate::DelegateFigures;
use crate::error::Result;
use crate::model;
use ondol::{CancelToken, FinishReason, GenerateOptions, ScreenStats, Session, Stats};
use serde::Serialize;

/// A finished answer, as `ondol run --json` prints it.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Complete characters only.
    pub text: String,
    /// The tokens that were generated, the end token included.
    pub tokens: Vec<u32>,
    /// [`FinishReason::name`]: `end`, `stop`, `max_tokens`, `context_full` or `cancelled`.
    pub finish_reason: &'static str,
    /// Counts and speeds.
    pub stats: Figures,
    /// Counts of the delegate since the session was made, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegate: Option<DelegateFigures>,
}

/// Counts and speeds of an answer.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that were already in the cache.
    pub cached_tokens: usize,
    /// Tokens of the answer.
    pub generated_tokens: usize,
    /// Drafts that were run.
    pub drafted_tokens: usize,
    /// Of these, drafts that were accepted.
    pub accepted_tokens: usize,
    /// Seconds from the request to the first token.
    pub ttft_s: f64,
    /// Prefill speed.
    pub prefill_tokens_per_s: f64,
    /// Decode speed.
    pub decode_tokens_per_s: f64,
    /// Peak memory of the process, if the system reports it.
    pub peak_memory_bytes: Option<u64>,
    /// Counts of the screen since the session was made, if it is used.
    pub screen: Option<ScreenFigures>,
}

/// [`ScreenStats`] for output.
#[derive(Debug, Clone, Serialize)]
pub struct ScreenFigures {
    screened: usize,
    rows: u64,
    most_rows: usize,
    whole: usize,
    audits: usize,
    missed: usize,
}

impl From<ScreenStats> for ScreenFigures {
    fn from(stats: ScreenStats) -> ScreenFigures {
        ScreenFigures {
            screened: stats.screened,
            rows: stats.rows,
            most_rows: stats.most_rows,
            whole: stats.whole,
            audits: stats.audits,
            missed: stats.missed,
        }
    }
}

/// Generates an answer and passes its text to `show` piece by piece.
///
/// `name` is the model as the user named it, for errors.
pub fn generate(
    session: &mut Session,
    name: &str,
    prompt: &[u32],
    options: &GenerateOptions,
    cancel: &CancelToken,
    mut show: impl FnMut(&str) -> Result<()>,
) -> Result<Answer> {
    let failed = model::runtime_error(name);
    let mut generation = session.generate(prompt, options, cancel).map_err(&failed)?;
    let mut text = String::new();
    for piece in generation.by_ref() {
        let piece = piece.map_err(&failed)?;
        show(&piece.text)?;
        text.push_str(&piece.text);
    }
    let finish_reason = generation
        .finish_reason()
        .unwrap_or(FinishReason::EndOfGeneration);
    let (tokens, stats) = (generation.tokens().to_vec(), generation.stats().into());
    Ok(Answer {
        text,
        tokens,
        finish_reason: finish_reason.name(),
        stats,
        delegate: DelegateFigures::of(session),
    })
}

impl From<Stats> for Figures {
    fn from(stats: Stats) -> Figures {
        Figures {
            prompt_tokens: stats.prompt_tokens,
            cached_tokens: stats.cached_tokens,
            generated_tokens: stats.generated_tokens,
            drafted_tokens: stats.drafted_tokens,
            accepted_tokens: stats.accepted_tokens,
            ttft_s: stats.ttft.as_secs_f64(),
            prefill_tokens_per_s: stats.prefill_tokens_per_s,
            decode_tokens_per_s: stats.decode_tokens_per_s,
            peak_memory_bytes: stats.peak_memory_bytes,
            screen: stats.screen.map(ScreenFigures::from),
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "prompt {} tokens ({} cached), {:.1} tokens/s; first token after {:.3} s; answer {} tokens, {:.1} tokens/s",
            self.prompt_tokens,
            self.cached_tokens,
            self.prefill_tokens_per_s,
            self.ttft_s,
            self.generated_tokens,
            self.decode_tokens_per_s,
        )?;
        if self.drafted_tokens > 0 {
            let (accepted, drafted) = (self.accepted_tokens, self.drafted_tokens);
            write!(f, "; {accepted} of {drafted} drafts were accepted")?;
        }
        if let Some(bytes) = self.peak_memory_bytes {
            write!(f, "; peak memory {}", crate::output::megabytes(bytes))?;
        }
        match &self.screen {
            Some(screen) => write!(f, "; {screen}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for ScreenFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "output head screened for {} tokens ({} rows scored, at most {} for one), {} audits, \
             {} missed",
            self.screened, self.rows, self.most_rows, self.audits, self.missed
        )
    }
}

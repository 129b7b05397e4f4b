//! Level `determinism`: repeated runs are equal bit for bit.

use crate::report::{Level, Text};
use crate::{Kit, Result};
use ondol::delegate::Offload;
use ondol::{CancelToken, Session};

/// How many times the tokens are run.
const RUNS: usize = 4;
/// Tokens of the prompt, and those decoded after it.
const PROMPT: usize = 40;
const DECODED: usize = 8;

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    let Ok(offload) = &kit.offload else {
        kit.nothing_runs(level, "determinism.runs");
        return Ok(());
    };
    say("the same tokens, again and again");
    let tokens = kit.tokens(&kit.setup.texts[0], PROMPT + DECODED)?;
    let tokens = &tokens[..PROMPT + DECODED];
    let runs = runs(kit, offload, tokens)?;
    let different = runs.iter().filter(|run| **run != runs[0]).count();
    let title = Text::new(
        format!("of {RUNS} runs of prefill and decode, those with any bit other than the first"),
        format!("프리필과 디코드 {RUNS}회 실행 중 첫 실행과 한 비트라도 다른 횟수"),
    );
    level.at_most("determinism.runs", title, different as f64, 0.0);
    Ok(())
}

/// The bits of all logits of each run. Even runs share one session, odd runs have a new one.
fn runs(kit: &Kit, offload: &Offload, tokens: &[u32]) -> Result<Vec<Vec<u32>>> {
    let mut kept = kit.npu(offload, tokens.len())?;
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let mut fresh = kit.npu(offload, tokens.len())?;
        let session = if run % 2 == 0 { &mut kept } else { &mut fresh };
        runs.push(bits(session, tokens)?);
    }
    Ok(runs)
}

fn bits(session: &mut Session, tokens: &[u32]) -> Result<Vec<u32>> {
    let (prompt, rest) = tokens.split_at(PROMPT);
    session.clear();
    let mut bits = Vec::new();
    let mut add = |logits: &[f32]| bits.extend(logits.iter().map(|x| x.to_bits()));
    add(session.prefill(prompt, &CancelToken::new())?);
    for &token in rest {
        add(session.decode(token)?);
    }
    Ok(bits)
}

//! Level `determinism`: repeated runs are equal bit for bit.

use crate::report::{Level, Text};
use crate::{Kit, Result};
use ondol::CancelToken;

/// How often the prompt is run.
const RUNS: usize = 4;
/// Tokens of the prompt.
const PROMPT: usize = 40;

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    let Ok(offload) = &kit.offload else {
        kit.nothing_runs(level, "determinism.runs");
        return Ok(());
    };
    say("the same prompt, again and again");
    let tokens = kit.tokens(&kit.setup.texts[0], PROMPT)?;
    let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    let mut kept = kit.npu(offload, PROMPT)?;
    let mut runs = Vec::new();
    for run in 0..RUNS {
        // Every other time with a session of its own.
        let mut fresh = kit.npu(offload, PROMPT)?;
        let session = if run % 2 == 0 { &mut kept } else { &mut fresh };
        session.clear();
        runs.push(bits(
            session.prefill(&tokens[..PROMPT], &CancelToken::new())?,
        ));
    }
    let different = runs.iter().filter(|run| **run != runs[0]).count();
    let title = Text::new(
        format!("of {RUNS} runs of a prompt, those whose logits differ in any bit from the first"),
        format!("같은 프롬프트 {RUNS}회 실행 중 첫 실행과 한 비트라도 다른 횟수"),
    );
    level.at_most("determinism.prefill", title, different as f64, 0.0);
    Ok(())
}

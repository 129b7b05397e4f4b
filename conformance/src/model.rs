//! Level `model`: the model's spans on the device. Each is compared with 64-bit floats;
//! then padding, a prompt in two parts, and decode on the CPU after prefill on the
//! device.

use crate::end_to_end::{difference, kls, mean};
use crate::gates::worse;
use crate::report::{Level, Series, Text};
use crate::segments::{Bench, nmse, normal, oracle};
use crate::{Kit, Result};
use ondol::CancelToken;
use ondol::delegate::Offload;
use ondol::delegate::segment::Segment;

/// A span is a few matmuls one after the other: what each may add, four times.
const SPAN_NMSE: f64 = 2e-3;
/// Between two ways to cut one prompt.
const CUT_KL: f64 = 1e-3;
/// After a prompt on the device, decoding on the CPU.
const HAND_OVER_KL: f64 = 0.005;
/// Tokens of the prompt, and those decoded after it.
const PROMPT: usize = 48;
const DECODED: usize = 16;

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    let Ok(offload) = &kit.offload else {
        kit.nothing_runs(level, "model.runs");
        return Ok(());
    };
    say("the model's parts, one by one");
    spans(kit, offload, level);
    say("cuts of a prompt, and the hand-over of the cache");
    let tokens = kit.tokens(&kit.setup.texts[0], PROMPT + DECODED)?;
    let tokens = &tokens[..PROMPT + DECODED];
    cuts(kit, offload, level, tokens)?;
    hand_over(kit, offload, level, tokens)
}

/// Every span on inputs of the size of hidden states, some of them large.
fn spans(kit: &Kit, offload: &Offload, level: &mut Level) {
    let mut found = Vec::new();
    let mut leaks = Ok(());
    for segment in offload.segments(crate::op::rows(kit)) {
        match span(kit, &segment) {
            Ok((error, leak)) => {
                found.push(error);
                if leak {
                    leaks = Err(format!("in {}", segment.name));
                }
            }
            Err(error) => {
                let title = Text::new("every part runs", "모든 구간의 실행");
                level.holds(
                    "model.spans.run",
                    title,
                    Err(format!("{}: {error}", segment.name)),
                );
                return;
            }
        }
    }
    let worst = found.iter().copied().fold(0.0, worse);
    let title = Text::new("NMSE of the worst part", "최악 구간의 정규화 제곱오차");
    level
        .at_most("model.spans.nmse", title, worst, SPAN_NMSE)
        .note = format!("{} parts", found.len());
    let title = Text::new(
        "rows of padding change nothing in the others",
        "채움 행이 다른 행에 영향을 주지 않음",
    );
    level.holds("model.spans.padding", title, leaks);
    level.series.push(Series {
        title: Text::new("NMSE by part", "구간별 정규화 제곱오차"),
        x_label: Text::new("part of the model", "모델 구간"),
        y_label: Text::new("NMSE", "정규화 제곱오차"),
        x: (0..found.len()).map(|i| i as f64).collect(),
        y: found,
        limit: Some(SPAN_NMSE),
        logarithmic: true,
    });
}

/// The NMSE of a span, and whether what stands in the last rows shows in the first.
fn span(kit: &Kit, segment: &Segment) -> Result<(f64, bool), String> {
    let (inputs, outputs) = segment.interface();
    let cols = |index: usize| segment.tensors[index].cols;
    let given: Vec<Vec<f32>> = inputs
        .iter()
        .map(|&input| {
            let mut values = normal(input as u64 + 1, segment.rows * cols(input));
            values.iter_mut().step_by(113).for_each(|x| *x *= 20.0);
            values
        })
        .collect();
    let kept = segment.rows.div_ceil(2);
    let mut padded = given.clone();
    for (values, &input) in padded.iter_mut().zip(&inputs) {
        values[kept * cols(input)..].fill(1e6);
    }
    let bench = Bench::new(&kit.delegate, segment, kit.setup.deadline);
    let mut bench = bench.map_err(|e| e.to_string())?;
    let found = bench.run(&given).map_err(|e| e.to_string())?;
    let beside = bench.run(&padded).map_err(|e| e.to_string())?;
    let differs = |((a, b), &output): ((&Vec<f32>, &Vec<f32>), &usize)| {
        let bits = |x: &f32| x.to_bits();
        let rows = ..kept * cols(output);
        !a[rows].iter().map(bits).eq(b[rows].iter().map(bits))
    };
    let leaks = found.iter().zip(&beside).zip(&outputs).any(differs);
    let expected = oracle(segment, &given);
    let errors = found
        .iter()
        .zip(&expected)
        .map(|(found, expected)| nmse(found, expected));
    Ok((errors.fold(0.0, worse), leaks))
}

/// One prompt at once, and in two parts of odd lengths.
fn cuts(kit: &Kit, offload: &Offload, level: &mut Level, tokens: &[u32]) -> Result<()> {
    let cancel = CancelToken::new();
    let mut whole = kit.npu(offload, tokens.len())?;
    let expected = whole.prefill(tokens, &cancel)?.to_vec();
    let mut cut = kit.npu(offload, tokens.len())?;
    cut.prefill(&tokens[..tokens.len() / 3], &cancel)?;
    let found = cut.prefill(&tokens[tokens.len() / 3..], &cancel)?;
    let title = Text::new(
        "KL between a prompt at once and in two parts",
        "한 번에 처리한 프롬프트와 나누어 처리한 프롬프트의 KL",
    );
    level.at_most("model.cuts", title, difference(&expected, found).kl, CUT_KL);
    Ok(())
}

/// The device runs prefill, and the CPU decodes with the same cache.
fn hand_over(kit: &Kit, offload: &Offload, level: &mut Level, tokens: &[u32]) -> Result<()> {
    let cancel = CancelToken::new();
    let (prompt, rest) = tokens.split_at(PROMPT);
    let mut cpu = kit.cpu(tokens.len())?;
    let mut npu = kit.npu(offload, tokens.len())?;
    cpu.prefill(prompt, &cancel)?;
    npu.prefill(prompt, &cancel)?;
    let mut found = Vec::new();
    for &token in rest {
        let expected = cpu.decode(token)?;
        found.push(difference(expected, npu.decode(token)?));
    }
    let title = Text::new(
        "mean KL of tokens decoded on the CPU after a prompt on the device",
        "장치에서 프롬프트를 처리한 뒤 CPU에서 생성한 토큰의 평균 KL",
    );
    let found = mean(&kls(&found));
    level
        .at_most("model.hand-over", title, found, HAND_OVER_KL)
        .unit = "nats".to_owned();
    Ok(())
}

//! Level `model`: the model's spans on the device, in every program that an app runs;
//! then numbers of rows, a prompt in parts, and decode on the CPU after prefill on the
//! device.

use crate::draw::row_counts;
use crate::end_to_end::{difference, kls, mean};
use crate::judge::Judgement;
use crate::op;
use crate::report::{Level, Series, Text};
use crate::{Kit, Result};
use ondol::CancelToken;
use ondol::delegate::Offload;
use ondol::delegate::segment::Segment;

/// The largest KL divergence, in nats, between a prompt at once and the same in parts.
const CUT_KL: f64 = 1e-3;
/// Tokens of the prompt that is cut.
const PROMPT: usize = 48;
/// Tokens that are decoded after the prompt.
const DECODED: usize = 16;

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    let Ok(offload) = &kit.offload else {
        kit.nothing_runs(level, "model.runs");
        return Ok(());
    };
    for rows in kit.programs() {
        say(&format!("the model's parts in programs of {rows} rows"));
        spans(kit, offload, level, rows);
    }
    say("cuts of a prompt, and the hand-over of the cache");
    let tokens = kit.tokens(&kit.setup.texts[0], PROMPT + DECODED)?;
    let tokens = &tokens[..PROMPT + DECODED];
    cuts(kit, offload, level, tokens)?;
    hand_over(kit, offload, level, tokens)
}

/// Judges every span, on inputs of the size of hidden states, some of them large.
fn spans(kit: &Kit, offload: &Offload, level: &mut Level, rows: usize) {
    let id = |what: &str| format!("model.spans-{rows}.{what}");
    let title = Text::new(
        format!("the model's parts, programs of {rows} rows"),
        format!("모델 구간, {rows}행 프로그램"),
    );
    let (mut worst, mut errors) = (Judgement::default(), Vec::new());
    let mut same = Ok(());
    for segment in offload.segments(rows) {
        match span(kit, &segment) {
            Ok((judgement, rows)) => {
                errors.push(judgement.whole.found);
                worst.keep_worst(judgement);
                same = same.and(rows);
            }
            Err(error) => {
                let error = format!("{}: {error}", segment.name);
                return level.holds(&id("runs"), title, Err(error));
            }
        }
    }
    worst.record(level, &id("judged"), &title);
    let rows_title = Text::new(
        format!(
            "{}: a row is the same bits whatever the number of rows",
            title.en
        ),
        format!("{}: 행 수가 달라도 각 행의 결과가 비트까지 같음", title.ko),
    );
    level.holds(&id("rows"), rows_title, same);
    level.series.push(Series {
        title: Text::new(
            format!("NMSE by part, programs of {rows} rows"),
            format!("구간별 정규화 제곱오차, {rows}행 프로그램"),
        ),
        x_label: Text::new("part of the model", "모델 구간"),
        y_label: Text::new("NMSE", "정규화 제곱오차"),
        x: (0..errors.len()).map(|i| i as f64).collect(),
        y: errors,
        limit: None,
        logarithmic: true,
    });
}

/// Judges a span, and compares calls of fewer rows with the call of all.
fn span(kit: &Kit, segment: &Segment) -> Result<(Judgement, Result<(), String>), String> {
    let (inputs, _) = segment.interface();
    let mut draw = kit.draw(&segment.name);
    let given: Vec<Vec<f32>> = inputs
        .iter()
        .map(|&input| {
            let mut values = draw.normal(segment.rows * segment.tensors[input].cols);
            values.iter_mut().step_by(113).for_each(|x| *x *= 20.0);
            values
        })
        .collect();
    let mut bench = op::bench(kit, segment)?;
    let mut run = |given: &[Vec<f32>]| bench.run(given).map_err(|e| e.to_string());
    let found = run(&given)?;
    let judgement = op::judge_outputs(kit, segment, &given, &found, &segment.name)?;
    // One number of rows for each span: many spans together cover all numbers.
    let counts = row_counts(kit.setup.seed, segment.rows);
    let one = counts[draw.below(counts.len())];
    let padded = run(&large_beyond(&given, segment, one))?;
    Ok((judgement, same_rows(segment, &found, &padded, one)))
}

/// The inputs with large numbers in the rows from `count` on.
fn large_beyond(given: &[Vec<f32>], segment: &Segment, count: usize) -> Vec<Vec<f32>> {
    let mut given = given.to_vec();
    for (values, input) in given.iter_mut().zip(segment.interface().0) {
        values[count * segment.tensors[input].cols..].fill(1e6);
    }
    given
}

fn same_rows(
    segment: &Segment,
    found: &[Vec<f32>],
    others: &[Vec<f32>],
    count: usize,
) -> Result<(), String> {
    for ((found, others), output) in found.iter().zip(others).zip(segment.interface().1) {
        let cols = segment.tensors[output].cols;
        if let Some(row) = op::first_different_row(found, others, cols, count) {
            let name = &segment.name;
            return Err(format!(
                "{name}: row {row} depends on the rows from {count} on"
            ));
        }
    }
    Ok(())
}

/// Compares one prompt at once with the same in two parts.
fn cuts(kit: &Kit, offload: &Offload, level: &mut Level, tokens: &[u32]) -> Result<()> {
    let cancel = CancelToken::new();
    let mut whole = kit.npu(offload, tokens.len())?;
    let expected = whole.prefill(tokens, &cancel)?.to_vec();
    let mut cut = kit.npu(offload, tokens.len())?;
    let (first, rest) = tokens.split_at(tokens.len() / 3);
    cut.prefill(first, &cancel)?;
    let found = cut.prefill(rest, &cancel)?;
    let title = Text::new(
        "KL between a prompt at once and in two parts",
        "한 번에 처리한 프롬프트와 나누어 처리한 프롬프트의 KL",
    );
    level.at_most("model.cuts", title, difference(&expected, found).kl, CUT_KL);
    Ok(())
}

/// The device runs prefill, and the CPU decodes with the same cache. The result may be only as
/// far from the CPU's alone as the declared arithmetic explains.
fn hand_over(kit: &Kit, offload: &Offload, level: &mut Level, tokens: &[u32]) -> Result<()> {
    let title = Text::new(
        "mean KL of tokens decoded on the CPU after a prompt on the device",
        "장치에서 프롬프트를 처리한 뒤 CPU에서 생성한 토큰의 평균 KL",
    );
    let Some(parts) = kit.parts(offload) else {
        level.not_measured("model.hand-over", title, NO_PARTS);
        return Ok(());
    };
    let decoded = |offload: &Offload| -> Result<Vec<Vec<f32>>> {
        let mut device = kit.npu(offload, tokens.len())?;
        device.prefill(&tokens[..PROMPT], &CancelToken::new())?;
        let mut state = Vec::new();
        device.save(&mut state)?;
        let mut cpu = kit.cpu(tokens.len())?;
        cpu.restore(state.as_slice())?;
        let rest = tokens[PROMPT..].iter();
        rest.map(|&token| Ok(cpu.decode(token)?.to_vec())).collect()
    };
    let exact = decoded(&parts.exact)?;
    let from_exact = |found: &[Vec<f32>]| {
        let pairs = exact.iter().zip(found);
        let differences: Vec<_> = pairs.map(|(a, b)| difference(a, b)).collect();
        mean(&kls(&differences))
    };
    let explained = from_exact(&decoded(&parts.declared)?);
    let found = from_exact(&decoded(offload)?);
    let limit = crate::end_to_end::kl_limit(explained);
    level.at_most("model.hand-over", title, found, limit).unit = "nats".to_owned();
    Ok(())
}

/// The reason in the report if the reference part can't compute.
pub const NO_PARTS: &str = "the reference part can't compute in the declared arithmetic";

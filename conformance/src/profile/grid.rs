//! A grid of precisions, input lengths and output lengths, with the figures of K-Perf that are
//! public.
//!
//! K-Perf is the performance index for domestic NPUs of Korea's Ministry of Science and
//! ICT and its council of 12 companies and 3 public bodies, announced on 10 December
//! 2025. Public are its variables (model, precision, length of the input and output
//! sequences) and that its results are tables and graphs in a spreadsheet; the sheet
//! itself is not. So the layout here is ours, and says so ([`NOTICE`]).

use super::{Answer, Joules, Measured, Metered, SCHEMA, Setting, answer, joules, metered};
use crate::meter::{Meter, MeterError, Phase};
use crate::report::Text;
use crate::spread::Spread;
use ondol::Session;
use serde::{Deserialize, Serialize};

/// The notice on every form of a grid, in English and Korean.
pub const NOTICE: (&str, &str) = (
    "The variables are those that are public of K-Perf: model, precision, lengths of input and \
     output. The layout is Ondol's own; this is no official K-Perf sheet and no certificate.",
    "변수(모델, 정밀도, 입력·출력 길이)는 공개된 K-Perf 지표를 따릅니다. 표의 서식은 Ondol이 \
     정한 것이며, K-Perf 공식 서식이나 인증서가 아닙니다.",
);

/// The definitions of the figures, in English and Korean.
pub const DEFINITIONS: (&str, &str) = (
    "TTFT: time from the prompt to the first token. TPOT: (latency - TTFT) / (output tokens - 1). \
     Tokens per second: output tokens / latency, one answer at a time. Tokens are scattered over \
     the vocabulary, so the work does not depend on what a model says. One run to warm up is not \
     counted. Percentiles are nearest ranks over the runs.",
    "TTFT: 프롬프트 입력부터 첫 토큰까지의 시간. TPOT: (전체 지연 시간 - TTFT) / (출력 토큰 수 - 1). \
     초당 토큰 수: 출력 토큰 수 / 전체 지연 시간(한 번에 한 응답). 토큰은 어휘 전체에서 고르게 \
     뽑으므로 작업량이 모델의 응답에 좌우되지 않습니다. 예열 1회는 세지 않습니다. 백분위수는 \
     실행 결과의 최근접 순위입니다.",
);

/// The measurements.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grid {
    /// [`SCHEMA`].
    pub schema: u32,
    /// [`NOTICE`].
    pub notice: Text,
    /// Where it was measured.
    pub setting: Setting,
    /// The models, in the order of the cells.
    pub models: Vec<Measured>,
    /// One for each model, input length and output length.
    pub cells: Vec<Cell>,
    /// The meter; `None` if there was none.
    pub meter: Option<Metered>,
}

/// The measurements of one model with one input length and one output length.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// The model, as the user named it.
    pub model: String,
    /// As [`Measured::precision`].
    pub precision: String,
    /// Tokens of the prompt.
    pub input: usize,
    /// Tokens of the answer.
    pub output: usize,
    /// Time to the first token, in milliseconds.
    pub ttft_ms: Spread,
    /// Time per token after the first, in milliseconds; `None` for an answer of one token.
    pub tpot_ms: Option<Spread>,
    /// Tokens of the answer per second.
    pub tokens_per_s: Spread,
    /// Energy per token; `None` without a meter.
    pub joules: Option<Joules>,
}

/// A grid that is being measured.
pub struct Measuring {
    meter: Meter,
    idle: Option<Phase>,
    models: Vec<Measured>,
    cells: Vec<(Cell, Vec<Answer>)>,
}

impl Measuring {
    /// Begins with a measurement of the idle draw, if there is a meter.
    pub fn begin(mut meter: Meter) -> Measuring {
        Measuring {
            idle: meter.idle(),
            meter,
            models: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// Adds a model: the cells that follow are this model's.
    pub fn model(&mut self, model: Measured) {
        self.models.push(model);
    }

    /// Measures a cell of the last model.
    ///
    /// # Errors
    /// Those of the runtime.
    pub fn cell(
        &mut self,
        session: &mut Session,
        lengths: [usize; 2],
        runs: usize,
    ) -> ondol::Result<()> {
        let mut answers = Vec::with_capacity(runs);
        // The first brings the weights into the page cache and wakes the threads.
        answer(session, &mut self.meter, lengths, 0)?;
        for run in 1..=runs {
            answers.push(answer(session, &mut self.meter, lengths, run)?);
        }
        if let Some(cell) = self
            .models
            .last()
            .and_then(|of| cell(of, lengths, &answers))
        {
            self.cells.push((cell, answers));
        }
        Ok(())
    }

    /// Ends the measurement. Returns the grid, and the error of a meter that could not be used.
    pub fn end(self, setting: Setting) -> (Grid, Option<MeterError>) {
        let (notice_en, notice_ko) = NOTICE;
        let mut grid = Grid {
            schema: SCHEMA,
            notice: Text::new(notice_en, notice_ko),
            setting,
            models: self.models,
            cells: Vec::new(),
            meter: None,
        };
        let (cells, answers): (Vec<Cell>, Vec<Vec<Answer>>) = self.cells.into_iter().unzip();
        grid.cells = cells;
        let failed = add_energy(&mut grid, &self.meter, self.idle, &answers).err();
        (grid, failed)
    }
}

fn add_energy(
    grid: &mut Grid,
    meter: &Meter,
    idle: Option<Phase>,
    answers: &[Vec<Answer>],
) -> Result<(), MeterError> {
    let Some((readings, metered)) = metered(meter, idle)? else {
        return Ok(());
    };
    for (cell, answers) in grid.cells.iter_mut().zip(answers) {
        let lengths = [cell.input, cell.output];
        cell.joules = Some(joules(&readings, metered.idle_watts, answers, lengths)?);
    }
    grid.meter = Some(metered);
    Ok(())
}

/// `None` without answers.
fn cell(of: &Measured, [input, output]: [usize; 2], answers: &[Answer]) -> Option<Cell> {
    let spread = |of: &dyn Fn(&Answer) -> f64| {
        let values: Vec<f64> = answers.iter().map(of).collect();
        Spread::of(&values)
    };
    let tpots: Vec<f64> = answers.iter().filter_map(|a| a.tpot_ms(output)).collect();
    Some(Cell {
        model: of.model.name.clone(),
        precision: of.precision.clone(),
        input,
        output,
        ttft_ms: spread(&|answer| answer.ttft * 1e3)?,
        tpot_ms: Spread::of(&tpots),
        tokens_per_s: spread(&|answer| output as f64 / answer.latency)?,
        joules: None,
    })
}

/// The columns of [`rows`]: English with the unit, and Korean.
pub const COLUMNS: [(&str, &str); 22] = [
    ("Model", "모델"),
    ("Precision", "정밀도"),
    ("Input tokens", "입력 토큰 수"),
    ("Output tokens", "출력 토큰 수"),
    ("Runs", "측정 횟수"),
    ("TTFT mean (ms)", "TTFT 평균(ms)"),
    ("TTFT std. dev. (ms)", "TTFT 표준편차(ms)"),
    ("TTFT p50 (ms)", "TTFT p50(ms)"),
    ("TTFT p90 (ms)", "TTFT p90(ms)"),
    ("TTFT p99 (ms)", "TTFT p99(ms)"),
    ("TPOT mean (ms)", "TPOT 평균(ms)"),
    ("TPOT std. dev. (ms)", "TPOT 표준편차(ms)"),
    ("TPOT p50 (ms)", "TPOT p50(ms)"),
    ("TPOT p90 (ms)", "TPOT p90(ms)"),
    ("TPOT p99 (ms)", "TPOT p99(ms)"),
    ("Tokens/s mean", "초당 토큰 수 평균"),
    ("Tokens/s min", "초당 토큰 수 최소"),
    ("Tokens/s p50", "초당 토큰 수 p50"),
    ("Tokens/s max", "초당 토큰 수 최대"),
    ("Prefill energy (J/token)", "프리필 에너지(J/토큰)"),
    ("Decode energy (J/token)", "디코드 에너지(J/토큰)"),
    ("Energy (J/output token)", "에너지(J/출력 토큰)"),
];

/// A value of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A name.
    Text(String),
    /// A number; `None` if it was not measured.
    Number(Option<f64>),
}

/// One row of values for each cell, in the order of [`COLUMNS`].
pub fn rows(grid: &Grid) -> Vec<Vec<Value>> {
    grid.cells.iter().map(row).collect()
}

fn row(cell: &Cell) -> Vec<Value> {
    let of = |spread: Option<Spread>, figures: &[fn(&Spread) -> f64]| -> Vec<Value> {
        let figures = figures.iter();
        figures
            .map(|figure| Value::Number(spread.as_ref().map(figure)))
            .collect()
    };
    let times: [fn(&Spread) -> f64; 5] =
        [|s| s.mean, |s| s.deviation, |s| s.p50, |s| s.p90, |s| s.p99];
    let count = |n: usize| Value::Number(Some(n as f64));
    let joules = |of: fn(&Joules) -> Option<f64>| Value::Number(cell.joules.as_ref().and_then(of));
    let head = vec![
        Value::Text(cell.model.clone()),
        Value::Text(cell.precision.clone()),
        count(cell.input),
        count(cell.output),
        count(cell.ttft_ms.runs),
    ];
    [
        head,
        of(Some(cell.ttft_ms), &times),
        of(cell.tpot_ms, &times),
        of(
            Some(cell.tokens_per_s),
            &[|s| s.mean, |s| s.min, |s| s.p50, |s| s.max],
        ),
        vec![
            joules(|j| j.prefill),
            joules(|j| j.decode),
            joules(|j| j.whole),
        ],
    ]
    .concat()
}

/// The table as CSV (RFC 4180), with English heads and full precision.
pub fn to_csv(grid: &Grid) -> String {
    let line = |fields: Vec<String>| format!("{}\r\n", fields.join(","));
    let heads = COLUMNS.iter().map(|(en, _)| field(en)).collect();
    let rows = rows(grid).into_iter();
    let rows = rows.map(|row| line(row.iter().map(shown).collect()));
    line(heads) + &rows.collect::<String>()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => field(text),
        Value::Number(number) => number.map_or(String::new(), |number| number.to_string()),
    }
}

fn field(text: &str) -> String {
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

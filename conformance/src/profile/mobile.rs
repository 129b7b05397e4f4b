//! The single-stream scenario by the run rules of MLPerf Mobile.
//!
//! Sources, in the repository `mlcommons/mobile_open`:
//!
//! - `rules/mobile_inference_rules.adoc`, version 4.0 of 8 May 2025, "Performance run":
//!   single stream, at least 1024 samples and 60 seconds, 90th percentile of the latency;
//!   the next query is sent as soon as the one before is answered. "Caching of any
//!   queries" is prohibited.
//! - `rules/submissionRuleV3_0.adoc`, "Temperature range": a room of 20 to 25 degrees
//!   Celsius, and the exact temperature is recorded.
//! - `llm/Readme.md`, version 6.0: prompts of at most 2048 tokens; accuracy on parts of
//!   MMLU and IFEval.
//!
//! A result of MLPerf needs its load generator, its app and its models as well. So this is not a
//! result of MLPerf, and its forms say so ([`NOTICE`]).

use super::tasks::Score;
use super::{Answer, Joules, Measured, Metered, SCHEMA, Setting, answer, joules, metered};
use crate::meter::{Meter, MeterError};
use crate::report::Text;
use crate::spread::Spread;
use ondol::Session;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::time::Instant;

/// The notice on every form, in English and Korean.
pub const NOTICE: (&str, &str) = (
    "The run rules are those of MLPerf Mobile (single stream). This is no MLPerf result: MLPerf's \
     load generator, app and models were not used, and MLCommons did not review it. It is no \
     certificate.",
    "실행 규칙은 MLPerf Mobile(단일 스트림)을 따릅니다. MLPerf의 부하 생성기·앱·모델을 사용하지 \
     않았고 MLCommons의 검토를 받지 않았으므로 MLPerf 결과가 아닙니다. 인증서도 아닙니다.",
);

/// The temperatures of the room that the rules allow, in degrees Celsius.
pub const AMBIENT: RangeInclusive<f64> = 20.0..=25.0;

/// How long a run lasts: until both minima are reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// The least duration, in seconds.
    pub seconds: f64,
    /// The least number of queries.
    pub queries: usize,
}

impl Rules {
    /// The rules of MLPerf Mobile.
    pub const PUBLIC: Rules = Rules {
        seconds: 60.0,
        queries: 1024,
    };
}

/// The measurements.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mobile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// [`NOTICE`].
    pub notice: Text,
    /// Where it was measured.
    pub setting: Setting,
    /// The model.
    pub model: Measured,
    /// Tokens of the prompt of a query.
    pub input: usize,
    /// Tokens of its answer.
    pub output: usize,
    /// Queries that were answered.
    pub queries: usize,
    /// How long that took, in seconds.
    pub seconds: f64,
    /// From a query to the end of its answer, in milliseconds. The 90th percentile is the
    /// result.
    pub latency_ms: Spread,
    /// Time to the first token, in milliseconds.
    pub ttft_ms: Spread,
    /// Time per token after the first, in milliseconds; `None` for answers of one token.
    pub tpot_ms: Option<Spread>,
    /// The temperature of the room in degrees Celsius, as the operator stated it.
    pub ambient: Option<f64>,
    /// How the run departs from the rules; empty if it keeps them.
    pub departures: Vec<Text>,
    /// The meter; `None` if there was none.
    pub meter: Option<Metered>,
    /// Energy per token; `None` without a meter.
    pub joules: Option<Joules>,
    /// Accuracy, by set of tasks.
    pub tasks: Vec<Score>,
}

/// A run that has ended.
pub struct Run {
    answers: Vec<Answer>,
    seconds: f64,
    meter: Meter,
    idle: Option<crate::meter::Phase>,
}

/// What a run measures, and by which rules.
pub struct Plan {
    /// The model.
    pub model: Measured,
    /// Tokens of a prompt and of its answer.
    pub lengths: [usize; 2],
    /// How long it lasts.
    pub rules: Rules,
    /// The temperature of the room in degrees Celsius, as the operator stated it.
    pub ambient: Option<f64>,
}

/// Sends queries one after the other. `say` gets the number of answered ones and the
/// seconds so far.
///
/// # Errors
/// Those of the runtime.
pub fn run(
    session: &mut Session,
    plan: &Plan,
    mut meter: Meter,
    mut say: impl FnMut(usize, f64),
) -> ondol::Result<Run> {
    let idle = meter.idle();
    // The first brings the weights into the page cache and wakes the threads.
    answer(session, &mut meter, plan.lengths, 0)?;
    let began = Instant::now();
    let (mut answers, mut seconds) = (Vec::new(), 0.0);
    while answers.len() < plan.rules.queries || seconds < plan.rules.seconds {
        answers.push(answer(
            session,
            &mut meter,
            plan.lengths,
            answers.len() + 1,
        )?);
        seconds = began.elapsed().as_secs_f64();
        say(answers.len(), seconds);
    }
    Ok(Run {
        answers,
        seconds,
        meter,
        idle,
    })
}

impl Run {
    /// The report, and why the meter could not be used, if it could not; `None` if no
    /// query was answered.
    pub fn report(
        self,
        plan: Plan,
        setting: Setting,
        tasks: Vec<Score>,
    ) -> Option<(Mobile, Option<MeterError>)> {
        let (notice_en, notice_ko) = NOTICE;
        let [input, output] = plan.lengths;
        let spread = |of: &dyn Fn(&Answer) -> Option<f64>| {
            let values: Vec<f64> = self.answers.iter().filter_map(of).collect();
            Spread::of(&values)
        };
        let mut mobile = Mobile {
            schema: SCHEMA,
            notice: Text::new(notice_en, notice_ko),
            departures: departures(&plan),
            model: plan.model,
            setting,
            input,
            output,
            queries: self.answers.len(),
            seconds: self.seconds,
            latency_ms: spread(&|answer| Some(answer.latency * 1e3))?,
            ttft_ms: spread(&|answer| Some(answer.ttft * 1e3))?,
            tpot_ms: spread(&|answer| answer.tpot_ms(output)),
            ambient: plan.ambient,
            meter: None,
            joules: None,
            tasks,
        };
        let failed = self.add_energy(&mut mobile).err();
        Some((mobile, failed))
    }

    fn add_energy(&self, mobile: &mut Mobile) -> Result<(), MeterError> {
        if let Some((readings, metered)) = metered(&self.meter, self.idle)? {
            let lengths = [mobile.input, mobile.output];
            let found = joules(&readings, metered.idle_watts, &self.answers, lengths)?;
            mobile.joules = Some(found);
            mobile.meter = Some(metered);
        }
        Ok(())
    }
}

/// How settings depart from the rules.
fn departures(plan: &Plan) -> Vec<Text> {
    let (rules, public) = (plan.rules, Rules::PUBLIC);
    let mut departures = Vec::new();
    if rules.seconds < public.seconds {
        departures.push(Text::new(
            format!(
                "the least duration was {} s in place of {} s",
                rules.seconds, public.seconds
            ),
            format!(
                "최소 실행 시간이 {}초가 아닌 {}초였습니다",
                public.seconds, rules.seconds
            ),
        ));
    }
    if rules.queries < public.queries {
        departures.push(Text::new(
            format!(
                "the least number of queries was {} in place of {}",
                rules.queries, public.queries
            ),
            format!(
                "최소 질의 수가 {}건이 아닌 {}건이었습니다",
                public.queries, rules.queries
            ),
        ));
    }
    if plan.lengths[0] > 2048 {
        departures.push(Text::new(
            "prompts had more than 2048 tokens",
            "프롬프트가 2048 토큰을 넘었습니다",
        ));
    }
    departures.extend(ambient_departure(plan.ambient));
    departures
}

fn ambient_departure(ambient: Option<f64>) -> Option<Text> {
    match ambient {
        None => Some(Text::new(
            "the operator did not state the temperature of the room",
            "시험 담당자가 실내 온도를 기재하지 않았습니다",
        )),
        Some(degrees) if !AMBIENT.contains(&degrees) => Some(Text::new(
            format!("the room had {degrees} °C; 20 to 25 °C are asked for"),
            format!("실내 온도가 {degrees} °C로, 20~25 °C 범위를 벗어났습니다"),
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Model;

    fn plan(rules: Rules, ambient: Option<f64>) -> Plan {
        let model = Measured {
            model: Model::of(&ondol::Model::hello().unwrap(), "hello", &[]).unwrap(),
            precision: "F16".to_owned(),
        };
        Plan {
            model,
            lengths: [8, 2],
            rules,
            ambient,
        }
    }

    #[test]
    fn what_shortens_a_run_departs_from_the_rules() {
        let departs = |rules, ambient| departures(&plan(rules, ambient)).len();
        assert_eq!(departs(Rules::PUBLIC, Some(22.5)), 0);
        assert_eq!(departs(Rules::PUBLIC, None), 1);
        assert_eq!(departs(Rules::PUBLIC, Some(25.1)), 1);
        assert_eq!(departs(Rules::PUBLIC, Some(f64::NAN)), 1);
        let short = Rules {
            seconds: 59.0,
            queries: 1023,
        };
        assert_eq!(departs(short, Some(20.0)), 2);
    }

    /// Both are reached: the queries here, and then the seconds.
    #[test]
    fn a_run_lasts_until_both_are_reached() {
        let model = ondol::Model::hello().unwrap();
        let options = ondol::SessionOptions {
            threads: Some(1),
            context: Some(16),
            ..ondol::SessionOptions::default()
        };
        let mut session = model.session(&options).unwrap();
        for rules in [
            Rules {
                seconds: 0.0,
                queries: 5,
            },
            Rules {
                seconds: 0.3,
                queries: 1,
            },
        ] {
            let plan = plan(rules, None);
            let run = run(&mut session, &plan, Meter::Nothing, |_, _| ()).unwrap();
            assert!(run.answers.len() >= rules.queries && run.seconds >= rules.seconds);
            let enough = rules.seconds > 0.0 || run.answers.len() == rules.queries;
            assert!(enough, "{}", run.answers.len());
        }
    }
}

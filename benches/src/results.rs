//! The results of measurements, as they are in the JSON files in `results/`.

use crate::Result;
use crate::machine::Machine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// All that was measured on a machine at one instruction set on one day.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    /// The machine.
    pub machine: Machine,
    /// What the engines were allowed to use of the CPU.
    pub isa: Isa,
    /// Threads of every engine.
    pub threads: usize,
    /// One for each start of the command, oldest first.
    pub runs: Vec<Run>,
}

/// One start of the command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Date and time, UTC.
    pub started: String,
    /// Ondol's commit, `-dirty` if files differed from it.
    pub commit: String,
    /// The engines and their versions.
    pub engines: BTreeMap<EngineName, String>,
    /// What was found.
    pub measurements: Vec<Measurement>,
}

/// One test on one file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measurement {
    /// Name of the model.
    pub model: String,
    /// Format of its file.
    pub format: String,
    /// What was timed.
    pub test: Test,
    /// What Ondol says of the file.
    pub facts: Facts,
    /// The rounds, in order; in each, every engine ran once.
    pub rounds: Vec<Round>,
}

/// What Ondol says of a file, for a context as long as the test's.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of weights that decode reads for one token.
    pub weight_bytes: u64,
    /// Bytes of the KV cache when the context is full.
    pub kv_bytes: u64,
    /// Bytes of all memory beyond the mapped file.
    pub memory_bytes: u64,
}

impl Facts {
    /// Bytes that decoding a token touches, on average from an empty context to a full one.
    pub fn touched_bytes(&self) -> u64 {
        self.weight_bytes + self.kv_bytes / 2
    }
}

/// Every engine once, one after the other.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Round {
    /// Bytes/s of a plain read loop over as many bytes as a token touches, on as many threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_s: Option<f64>,
    /// The figures of each engine; an engine that could not run the file is missing.
    pub samples: BTreeMap<EngineName, Sample>,
}

impl Round {
    /// How many times as fast as `peer` an engine was.
    pub fn ratio(&self, test: Test, engine: EngineName, peer: EngineName) -> Option<f64> {
        let (own, peer) = (self.samples.get(&engine)?, self.samples.get(&peer)?);
        Some(match test {
            Test::Start => peer.value / own.value,
            _ => own.value / peer.value,
        })
    }

    /// The share of its quiet speed that an engine kept on a busy machine.
    pub fn kept(&self, engine: EngineName) -> Option<f64> {
        let sample = self.samples.get(&engine)?;
        Some(sample.value / sample.quiet?)
    }

    /// Bytes that an engine's decoding touched per second, over the read loop's.
    pub fn share_of_bandwidth(&self, facts: &Facts, engine: EngineName) -> Option<f64> {
        let sample = self.samples.get(&engine)?;
        Some(sample.value * facts.touched_bytes() as f64 / self.read_bytes_per_s?)
    }
}

/// One engine's figure, and the memory of its process.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Tokens/s; seconds for [`Test::Start`].
    pub value: f64,
    /// Tokens/s just before, with no core taken: [`Test::Busy`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<f64>,
    /// The most bytes of memory that were resident.
    pub peak_rss: u64,
    /// The most bytes that were resident and not pages of a file, if the system reports it.
    pub peak_anonymous: Option<u64>,
}

/// An engine, and the file that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EngineName {
    /// Ondol on its packed copy of the file.
    #[serde(rename = "ondol packed")]
    OndolPacked,
    /// Ondol on the file as it is.
    #[serde(rename = "ondol")]
    Ondol,
    /// llama.cpp.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// candle-transformers.
    #[serde(rename = "candle")]
    Candle,
}

impl EngineName {
    /// The engines that are Ondol.
    pub const OURS: [EngineName; 2] = [EngineName::OndolPacked, EngineName::Ondol];
    /// The engines with which Ondol is compared.
    pub const PEERS: [EngineName; 2] = [EngineName::LlamaCpp, EngineName::Candle];

    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            EngineName::OndolPacked => "Ondol, packed",
            EngineName::Ondol => "Ondol",
            EngineName::LlamaCpp => "llama.cpp",
            EngineName::Candle => "candle",
        }
    }
}

/// What is timed. Its text is what the option `--tests` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Test {
    /// `pp512`: prefill of this many tokens into an empty context.
    Prefill(usize),
    /// `tg128`: decode of this many tokens from an empty context.
    Decode(usize),
    /// `tg128x8`: decode of this many tokens of each of several sequences together; the tokens of
    /// all sequences count.
    Batch(usize, usize),
    /// `start`: process start to the first token of a short prompt and exit.
    Start,
    /// `busy64`: decode of this many tokens while a spinning thread occupies one core.
    Busy(usize),
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Prefill(tokens) => write!(f, "pp{tokens}"),
            Test::Decode(tokens) => write!(f, "tg{tokens}"),
            Test::Batch(tokens, sequences) => write!(f, "tg{tokens}x{sequences}"),
            Test::Start => f.write_str("start"),
            Test::Busy(tokens) => write!(f, "busy{tokens}"),
        }
    }
}

impl FromStr for Test {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Test, String> {
        let number = |text: &str| text.parse().ok().filter(|&n: &usize| n > 0);
        let tokens = |prefix| number(text.strip_prefix(prefix)?);
        let batch = || {
            let (tokens, sequences) = text.strip_prefix("tg")?.split_once('x')?;
            Some(Test::Batch(number(tokens)?, number(sequences)?))
        };
        let test = tokens("pp").map(Test::Prefill);
        let test = test.or_else(|| tokens("tg").map(Test::Decode));
        let test = test.or_else(batch);
        let test = test.or_else(|| tokens("busy").map(Test::Busy));
        let test = test.or_else(|| (text == "start").then_some(Test::Start));
        test.ok_or_else(|| format!("`{text}` is not a test; use ppN, tgN, tgNxS, busyN or start"))
    }
}

impl TryFrom<String> for Test {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Test, String> {
        text.parse()
    }
}

impl From<Test> for String {
    fn from(test: Test) -> String {
        test.to_string()
    }
}

/// The instructions of the CPU that all engines may use, so that they can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Isa {
    /// All instructions that the CPU has.
    Native,
    /// AVX2, FMA and F16C.
    Avx2,
}

impl Isa {
    /// The text in options and file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Isa::Native => "native",
            Isa::Avx2 => "avx2",
        }
    }
}

impl Results {
    /// Reads a file.
    ///
    /// # Errors
    /// If it can't be read, or is not a file of results.
    pub fn load(path: &Path) -> Result<Results> {
        let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()).into())
    }

    /// Writes the JSON file, and beside it the table and the plot.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path, json + "\n")?;
        std::fs::write(path.with_extension("md"), crate::table::markdown(self))?;
        std::fs::write(path.with_extension("svg"), crate::plot::svg(self))?;
        Ok(())
    }

    /// All measurements; of those that were repeated, only the newest. The order is that in which
    /// each was made for the first time.
    pub fn latest(&self) -> Vec<&Measurement> {
        let mut latest: Vec<&Measurement> = Vec::new();
        for new in self.runs.iter().flat_map(|run| &run.measurements) {
            match latest.iter_mut().find(|old| old.same_subject(new)) {
                Some(old) => *old = new,
                None => latest.push(new),
            }
        }
        latest
    }
}

impl Measurement {
    fn same_subject(&self, other: &Measurement) -> bool {
        (&self.model, &self.format, self.test) == (&other.model, &other.format, other.test)
    }

    /// The figure of each round; rounds that lack it are left out.
    pub fn each_round(&self, figure: impl Fn(&Round) -> Option<f64>) -> Vec<f64> {
        self.rounds.iter().filter_map(figure).collect()
    }
}

/// The tests that have results, in the order of their first measurement.
pub fn tests_of(measurements: &[&Measurement]) -> Vec<Test> {
    let mut tests = Vec::new();
    for measurement in measurements {
        if !tests.contains(&measurement.test) {
            tests.push(measurement.test);
        }
    }
    tests
}

/// The middle value, or the mean of the two in the middle; `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two rounds on one file: Ondol at 300 and 200, packed a tenth faster,
    /// llama.cpp at 100.
    pub fn sample(test: Test) -> Results {
        let sample = |value| Sample {
            value,
            quiet: Some(2.0 * value),
            peak_rss: 150_000_000,
            peak_anonymous: Some(40_000_000),
        };
        let round = |ours: f64| Round {
            read_bytes_per_s: Some(20e9),
            samples: BTreeMap::from([
                (EngineName::OndolPacked, sample(1.1 * ours)),
                (EngineName::Ondol, sample(ours)),
                (EngineName::LlamaCpp, sample(100.0)),
            ]),
        };
        let measurement = Measurement {
            model: "smollm2".into(),
            format: "Q4_0".into(),
            test,
            facts: Facts {
                file_bytes: 92_000_000,
                weight_bytes: 49_000_000,
                kv_bytes: 2_000_000,
                memory_bytes: 38_000_000,
            },
            rounds: vec![round(300.0), round(200.0)],
        };
        Results {
            machine: Machine {
                cpu: "A <CPU> & more".into(),
                ..Machine::default()
            },
            isa: Isa::Avx2,
            threads: 2,
            runs: vec![Run {
                started: "2026-11-25T00:00:00Z".into(),
                commit: "abc".into(),
                engines: BTreeMap::from([(EngineName::LlamaCpp, "0.3.36".into())]),
                measurements: vec![measurement],
            }],
        }
    }

    #[test]
    fn a_ratio_pairs_the_engines_of_one_round() {
        let results = sample(Test::Decode(128));
        let found = results.latest()[0];
        let ratio =
            |round: &Round| round.ratio(found.test, EngineName::Ondol, EngineName::LlamaCpp);
        assert_eq!(found.each_round(ratio), [3.0, 2.0]);
        let missing =
            |round: &Round| round.ratio(found.test, EngineName::Ondol, EngineName::Candle);
        assert!(found.each_round(missing).is_empty());
    }

    #[test]
    fn fewer_seconds_are_faster() {
        let round = &sample(Test::Start).runs[0].measurements[0].rounds[1];
        let ratio = round.ratio(Test::Start, EngineName::Ondol, EngineName::LlamaCpp);
        assert_eq!(ratio, Some(0.5));
    }

    #[test]
    fn shares_are_of_the_quiet_speed_and_of_the_read_loop() {
        let results = sample(Test::Busy(64));
        let found = results.latest()[0];
        assert_eq!(found.rounds[0].kept(EngineName::LlamaCpp), Some(0.5));
        let share = found.rounds[0].share_of_bandwidth(&found.facts, EngineName::Ondol);
        assert_eq!(share, Some(300.0 * 50e6 / 20e9));
    }

    #[test]
    fn a_measurement_made_again_replaces_the_old_one() {
        let mut results = sample(Test::Start);
        let mut again = results.runs[0].clone();
        again.measurements[0].rounds.truncate(1);
        let mut other = again.clone();
        other.measurements[0].format = "Q8_0".into();
        results.runs.extend([again, other]);
        let rounds: Vec<usize> = results.latest().iter().map(|m| m.rounds.len()).collect();
        assert_eq!(rounds, [1, 1]);
    }

    #[test]
    fn results_survive_json() {
        let results = sample(Test::Busy(64));
        let json = serde_json::to_string(&results).unwrap();
        assert!(json.contains(r#""ondol packed":{"value":330.0"#), "{json}");
        let back: Results = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
    }

    #[test]
    fn tests_are_read_as_they_are_written() {
        for test in [
            Test::Prefill(512),
            Test::Decode(1),
            Test::Start,
            Test::Busy(64),
        ] {
            assert_eq!(test.to_string().parse(), Ok(test));
        }
        for bad in ["", "pp", "pp0", "tg-1", "starts", "512"] {
            assert!(bad.parse::<Test>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[10.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[10.0, 1.0, 4.0, 2.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }
}

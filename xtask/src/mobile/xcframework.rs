//! Puts together an XCFramework without Xcode: a folder for each library, and a list of them.
//! Apple's linker never linked the libraries, and the XCFramework's name and list say so.

use super::{copy, make_folder, write};
use crate::steps::{Outcome, root};
use std::fs;
use std::path::Path;

/// A library for one kind of system.
pub struct Slice {
    pub target: &'static str,
    folder: &'static str,
    simulator: bool,
}

pub const SLICES: [Slice; 2] = [
    Slice {
        target: "aarch64-apple-ios",
        folder: "ios-arm64",
        simulator: false,
    },
    Slice {
        target: "aarch64-apple-ios-sim",
        folder: "ios-arm64-simulator",
        simulator: true,
    },
];

/// The library of the Swift package.
pub const LIBRARY: &str = "libondol_ffi.a";

/// The header that `cargo xtask bindings` writes.
pub const HEADER: &str = "ios/Sources/COndolFFI/COndolFFI.h";

const MODULE: &str = "module COndolFFI {\n    header \"COndolFFI.h\"\n    export *\n}\n";

const NOTE: &str = "Put together without Xcode. Its libraries were never linked by Apple's \
    linker, nor run.";

/// The headers and the module map, for Xcode too.
pub fn headers(folder: &Path) -> Outcome {
    copy(&root().join(HEADER), &folder.join("COndolFFI.h"))?;
    write(&folder.join("module.modulemap"), MODULE)
}

/// Puts the libraries `home/<target>/LIBRARY` together in a new folder `framework`.
pub fn unlinked(home: &Path, framework: &Path) -> Outcome {
    let _ = fs::remove_dir_all(framework);
    make_folder(framework)?;
    for slice in &SLICES {
        let folder = framework.join(slice.folder);
        copy(
            &home.join(slice.target).join(LIBRARY),
            &folder.join(LIBRARY),
        )?;
        headers(&folder.join("Headers"))?;
    }
    write(&framework.join("Info.plist"), &list())?;
    check(framework)
}

/// The list in the form that Xcode writes.
fn list() -> String {
    let slices: String = SLICES.iter().map(entry).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n\
         <key>AvailableLibraries</key>\n<array>\n{slices}</array>\n{}{}{}</dict>\n</plist>\n",
        pair("CFBundlePackageType", "XFWK"),
        pair("OndolNote", NOTE),
        pair("XCFrameworkFormatVersion", "1.0"),
    )
}

fn entry(slice: &Slice) -> String {
    let variant = match slice.simulator {
        true => pair("SupportedPlatformVariant", "simulator"),
        false => String::new(),
    };
    format!(
        "<dict>\n{}{}{}{}<key>SupportedArchitectures</key>\n<array>\n\
         <string>arm64</string>\n</array>\n{}{variant}</dict>\n",
        pair("BinaryPath", LIBRARY),
        pair("HeadersPath", "Headers"),
        pair("LibraryIdentifier", slice.folder),
        pair("LibraryPath", LIBRARY),
        pair("SupportedPlatform", "ios"),
    )
}

fn pair(key: &str, value: &str) -> String {
    format!("<key>{key}</key>\n<string>{value}</string>\n")
}

/// Checks that the list is well-formed and names exactly the folders that are there, with
/// their libraries and headers.
fn check(framework: &Path) -> Outcome {
    let path = framework.join("Info.plist");
    let list = fs::read_to_string(&path).map_err(|e| format!("{} ({e})", path.display()))?;
    well_formed(&list).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut listed = values(&list, "LibraryIdentifier");
    let entries = fs::read_dir(framework).map_err(|e| format!("{} ({e})", path.display()))?;
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let folders = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut there: Vec<String> = folders.collect();
    listed.sort();
    there.sort();
    if listed != there {
        return Err(format!(
            "{}: lists {listed:?}, has {there:?}",
            path.display()
        ));
    }
    for folder in &listed {
        for kind in ["LibraryPath", "HeadersPath"] {
            for value in values(&list, kind) {
                let named = framework.join(folder).join(value);
                if !named.exists() {
                    return Err(format!("{}: no {}", path.display(), named.display()));
                }
            }
        }
    }
    Ok(())
}

/// The strings after a key.
fn values(list: &str, key: &str) -> Vec<String> {
    let key = format!("<key>{key}</key>");
    let after = list.split(&key).skip(1);
    let strings = after.filter_map(|rest| rest.split_once("<string>")?.1.split_once("</string>"));
    strings.map(|(value, _)| value.to_owned()).collect()
}

/// Whether each tag is closed in its order.
fn well_formed(list: &str) -> Result<(), String> {
    let mut open = Vec::new();
    for tag in list.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').ok_or("a tag without an end")?;
        let name = tag.split(' ').next().unwrap_or(tag);
        match name.strip_prefix('/') {
            Some(closed) if open.pop() == Some(closed) => (),
            Some(closed) => return Err(format!("`{closed}` is closed in the wrong place")),
            None if tag.starts_with(['?', '!']) || tag.ends_with('/') => (),
            None => open.push(name),
        }
    }
    match open.as_slice() {
        [] => Ok(()),
        open => Err(format!("{open:?} are not closed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(test: &str) -> std::path::PathBuf {
        let home = std::env::temp_dir().join(format!("ondol-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        for slice in &SLICES {
            write(&home.join(slice.target).join(LIBRARY), "a library").unwrap();
        }
        home
    }

    #[test]
    fn the_list_names_what_is_there_and_says_that_it_is_unlinked() {
        let home = home("framework");
        let framework = home.join("F.xcframework");
        unlinked(&home, &framework).unwrap();
        let list = fs::read_to_string(framework.join("Info.plist")).unwrap();
        assert!(list.contains("never linked"));
        assert_eq!(values(&list, "SupportedPlatformVariant"), ["simulator"]);
        let simulator = framework.join("ios-arm64-simulator");
        assert!(simulator.join("Headers/module.modulemap").exists());

        fs::remove_file(simulator.join(LIBRARY)).unwrap();
        assert!(check(&framework).unwrap_err().contains("no "));
        fs::remove_dir_all(simulator).unwrap();
        assert!(check(&framework).unwrap_err().contains("lists"));
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn tags_are_closed_in_order() {
        assert_eq!(well_formed("<?xml?><a><b/><c>x</c></a>"), Ok(()));
        assert!(well_formed("<a><b></a></b>").is_err());
        assert!(well_formed("<a>").is_err());
    }
}

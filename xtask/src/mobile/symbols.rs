//! Compares the symbols that a library exports and imports with those that are allowed.

use super::Toolchain;
use crate::steps::{Outcome, output, root};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Functions that the header declares only for builds without an operating system.
const FIRMWARE: [&str; 4] = [
    "ondol_heap_peak",
    "ondol_heap_used",
    "ondol_init",
    "ondol_on_step",
];

/// Names of symbols.
pub type Names = BTreeSet<String>;

/// The functions that `ondol.h` declares for phones.
pub fn declared() -> Result<Names, String> {
    let path = root().join("bindings/c/ondol.h");
    let header = fs::read_to_string(&path).map_err(|e| format!("{} ({e})", path.display()))?;
    let mut names = functions(&header);
    for name in FIRMWARE {
        if !names.remove(name) {
            return Err(format!("{name} in ondol.h"));
        }
    }
    Ok(names)
}

/// The names before the first parenthesis in lines that declare something.
fn functions(header: &str) -> Names {
    let starts = header
        .lines()
        .filter(|line| line.starts_with(char::is_alphabetic));
    starts
        .filter(|line| !line.starts_with("typedef"))
        .filter_map(|line| line.split_once('('))
        .filter_map(|(before, _)| before.rsplit([' ', '*']).next())
        .map(str::to_string)
        .collect()
}

/// The name that the JVM looks for in a library of native methods; [`declared`] is for the other
/// libraries.
pub fn of_jni() -> Names {
    Names::from(["JNI_OnLoad".to_string()])
}

/// Checks that a shared library exports exactly these functions.
pub fn check_shared(toolchain: &Toolchain, library: &Path, expected: &Names) -> Outcome {
    let list = nm(toolchain, &["--dynamic", "--defined-only"], library)?;
    same(&names(&list), expected, library)
}

/// Checks that a static library has what the header declares, and no other name that
/// begins in the same way. Its remaining names belong to Rust's own library.
pub fn check_static(toolchain: &Toolchain, library: &Path) -> Outcome {
    let list = nm(toolchain, &["--extern-only", "--defined-only"], library)?;
    // Mach-O puts an underscore before every name of C.
    let ours = names(&list)
        .iter()
        .map(|name| name.strip_prefix('_').unwrap_or(name).to_string())
        .filter(|name| name.starts_with("ondol_"))
        .collect();
    same(&ours, &declared()?, library)
}

/// Checks that a static library has the functions of UniFFI's that a header declares.
pub fn check_has(toolchain: &Toolchain, library: &Path, header: &str) -> Outcome {
    let path = root().join(header);
    let header = fs::read_to_string(&path).map_err(|e| format!("{} ({e})", path.display()))?;
    let list = nm(toolchain, &["--extern-only", "--defined-only"], library)?;
    let missing = missing(&header, &names(&list));
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("{}: not exported: {missing:?}", library.display())),
    }
}

/// UniFFI's functions in a header that are not among the names, which Mach-O writes with
/// an underscore.
fn missing(header: &str, names: &Names) -> Vec<String> {
    let declared = functions(header).into_iter();
    let declared = declared.filter(|name| name.contains("ffi_ondol_ffi_"));
    let there = |name: &String| names.contains(&format!("_{name}"));
    declared.filter(|name| !there(name)).collect()
}

/// The symbols that a static library needs from others, without its own.
pub fn needed(toolchain: &Toolchain, library: &Path) -> Result<Names, String> {
    let list = nm(toolchain, &["--extern-only", "--undefined-only"], library)?;
    let own = nm(toolchain, &["--extern-only", "--defined-only"], library)?;
    let own = names(&own);
    Ok(names(&list)
        .into_iter()
        .filter(|name| !own.contains(name))
        .collect())
}

/// The symbols that a shared library imports. Weak names are left out: Rust's library
/// uses them to look for newer functions, and works without them.
pub fn undefined(toolchain: &Toolchain, library: &Path) -> Result<Names, String> {
    let list = nm(toolchain, &["--dynamic", "--undefined-only"], library)?;
    Ok(strong(&list))
}

/// The names of rows with the type `U`.
fn strong(list: &str) -> Names {
    let rows = list.lines().filter_map(|row| row.trim().strip_prefix("U "));
    rows.map(str::to_string).collect()
}

/// Apple's objects contain bitcode beside their code. It may be from a newer LLVM than
/// the tool, so it is skipped.
fn nm(toolchain: &Toolchain, which: &[&str], library: &Path) -> Result<String, String> {
    let library = library.display().to_string();
    output(
        &toolchain.tool("llvm-nm"),
        &[which, &["--no-llvm-bc", "--quiet", &library]].concat(),
    )
}

/// The last words of lines: an address and a kind may come before them. Headings of the
/// members of an archive, which end in a colon, are left out.
fn names(list: &str) -> Names {
    let rows = list.lines().filter(|row| !row.ends_with(':'));
    rows.filter_map(|row| row.split_whitespace().last())
        .map(str::to_string)
        .collect()
}

fn same(found: &Names, declared: &Names, library: &Path) -> Outcome {
    if found == declared {
        println!("{}: exports {} functions", library.display(), found.len());
        return Ok(());
    }
    Err(format!(
        "{}: exported without reason: {:?}; not exported: {:?}",
        library.display(),
        found.difference(declared).collect::<Vec<_>>(),
        declared.difference(found).collect::<Vec<_>>(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_declares_what_starts_a_line() {
        let header = "\
//     ondol_error error = {0};
typedef int (*ondol_text_fn)(void *user);
ondol_status ondol_model_open(const char *path,
                              ondol_model **model);
ondol_cancel *ondol_cancel_new(void);
#if defined(__cplusplus)
";
        let expected = ["ondol_cancel_new", "ondol_model_open"].map(String::from);
        assert_eq!(functions(header), BTreeSet::from(expected));
    }

    #[test]
    fn functions_that_a_library_lacks_are_told() {
        let header = "\
uint64_t uniffi_ondol_ffi_fn_a(uint64_t handle
);
RustBuffer ffi_ondol_ffi_b(uint64_t size
typedef void (*Callback)(uint64_t);
";
        let names = |list: &[&str]| list.iter().map(|name| name.to_string()).collect();
        let both = names(&["_uniffi_ondol_ffi_fn_a", "_ffi_ondol_ffi_b"]);
        assert!(missing(header, &both).is_empty());
        let one = names(&["_ffi_ondol_ffi_b"]);
        assert_eq!(missing(header, &one), ["uniffi_ondol_ffi_fn_a"]);
    }

    #[test]
    fn names_come_with_addresses_or_alone() {
        let list = "\na.o:\n0000 T _ours\n                 U _stat\n_fstat\n";
        let expected = ["_fstat", "_ours", "_stat"].map(String::from);
        assert_eq!(names(list), BTreeSet::from(expected));
    }

    #[test]
    fn weak_names_are_not_asked_for() {
        let list = "                 U malloc\n                 w getrandom\n";
        assert_eq!(strong(list), BTreeSet::from(["malloc".to_string()]));
    }

    #[test]
    fn more_or_fewer_names_are_told() {
        let names = |list: &[&str]| list.iter().map(|name| name.to_string()).collect();
        let declared: Names = names(&["ondol_a", "ondol_b"]);
        assert!(same(&declared, &declared, Path::new("x")).is_ok());
        let told = same(&names(&["ondol_a", "malloc"]), &declared, Path::new("x"));
        let told = told.unwrap_err();
        assert!(told.contains("[\"malloc\"]") && told.contains("[\"ondol_b\"]"));
    }
}

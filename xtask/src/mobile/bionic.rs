//! Stubs of Android's system libraries for builds without an NDK. They have the names
//! that Ondol may use, and no code.
//!
//! A library that is linked with them uses Android's own libraries on a phone. A
//! library that needs a name which is not in `bionic.txt` does not link.

use super::{Toolchain, write};
use crate::steps::{Outcome, run};
use std::fs;
use std::path::Path;

/// The file with the functions that Ondol may use, by library.
const FUNCTIONS: &str = include_str!("bionic.txt");

/// Rust's library needs an unwinder to print where a panic happened. The NDK has one;
/// this stub finds no frames.
const UNWINDER: &str = "\
__attribute__((visibility(\"hidden\"))) int _Unwind_Backtrace(void *f, void *a) {
    (void)f;
    (void)a;
    return 5; /* the end of the stack */
}
__attribute__((visibility(\"hidden\"))) unsigned long _Unwind_GetIP(void *c) {
    (void)c;
    return 0;
}
__attribute__((visibility(\"hidden\"))) unsigned long _Unwind_GetIPInfo(void *c, int *before) {
    (void)c;
    *before = 0;
    return 0;
}
__attribute__((visibility(\"hidden\"))) unsigned long _Unwind_GetCFA(void *c) {
    (void)c;
    return 0;
}
__attribute__((visibility(\"hidden\"))) void *_Unwind_FindEnclosingFunction(void *p) { return p; }
#ifdef __arm__
__attribute__((visibility(\"hidden\"))) int _Unwind_VRS_Get(void *c, int k, unsigned r, int t,
                                                          unsigned *value) {
    (void)c, (void)k, (void)r, (void)t;
    *value = 0;
    return 0;
}
__attribute__((visibility(\"hidden\"))) void __aeabi_unwind_cpp_pr0(void) {}
__attribute__((visibility(\"hidden\"))) void __aeabi_unwind_cpp_pr1(void) {}
#endif
";

/// The message that a library that was linked with the stubs writes to Android's log.
const WARNING: &str = "this library was linked without an NDK, with a stand-in for its unwinder: \
                       use it for trials only";

/// The code that writes the message when the library is loaded.
const UNLINKED: &str = "\
int __android_log_write(int priority, const char *tag, const char *text);
__attribute__((constructor)) static void warn(void) {
    __android_log_write(5 /* ANDROID_LOG_WARN */, \"Ondol\", WARNING);
}
";

/// The libraries of Android that Ondol may need, each with its functions.
pub fn libraries() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut libraries: Vec<(&str, Vec<&str>)> = Vec::new();
    let lines = FUNCTIONS.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_suffix(':'), libraries.last_mut()) {
            (Some(library), _) => libraries.push((library, Vec::new())),
            (None, Some((_, functions))) => functions.push(line),
            (None, None) => {}
        }
    }
    libraries
}

/// The object file that every library linked with the stubs contains.
pub const UNLINKED_OBJECT: &str = "unlinked.o";

/// The source of [`UNLINKED_OBJECT`].
fn unlinked() -> String {
    format!("#define WARNING \"{WARNING}\"\n{UNLINKED}")
}

/// Checks that a library says that it was linked with the stubs exactly if it was.
pub fn check_warning(library: &Path, linked_with_stubs: bool) -> Outcome {
    let bytes = fs::read(library).map_err(|e| format!("{} ({e})", library.display()))?;
    let mut parts = bytes.windows(WARNING.len());
    if parts.any(|part| part == WARNING.as_bytes()) == linked_with_stubs {
        return Ok(());
    }
    let path = library.display();
    Err(format!(
        "{path}: whether it says that it was linked with stubs"
    ))
}

/// Writes the stubs of one architecture into a folder.
pub fn stand_ins(toolchain: &Toolchain, clang_target: &str, folder: &Path) -> Outcome {
    let file = |name: &str| folder.join(name).display().to_string();
    let compile = |source: &str, object: &str| {
        let target = format!("--target={clang_target}");
        let line = ["-fPIC", "-c", &file(source), "-o", &file(object)];
        run(
            &toolchain.tool("clang"),
            &[&[target.as_str()][..], &line].concat(),
        )
    };
    for (library, functions) in libraries() {
        let define = |name: &&str| format!(".globl {name}\n.type {name}, %function\n{name}:\n");
        let source = format!("{library}.s");
        write(
            &folder.join(&source),
            &functions.iter().map(define).collect::<String>(),
        )?;
        let object = format!("{library}.o");
        compile(&source, &object)?;
        let link = [
            "-shared",
            "-soname",
            library,
            "-o",
            &file(library),
            &file(&object),
        ];
        run(&toolchain.tool("ld.lld"), &link)?;
    }
    write(&folder.join("unlinked.c"), &unlinked())?;
    compile("unlinked.c", UNLINKED_OBJECT)?;
    write(&folder.join("unwind.c"), UNWINDER)?;
    compile("unwind.c", "unwind.o")?;
    let archive = ["rcs", &file("libunwind.a"), &file("unwind.o")];
    run(&toolchain.tool("llvm-ar"), &archive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::output;

    #[test]
    fn each_function_is_in_one_library() {
        let libraries = libraries();
        let names: Vec<&str> = libraries.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["libc.so", "libm.so", "libdl.so", "liblog.so"]);
        let mut functions: Vec<_> = libraries.into_iter().flat_map(|(_, all)| all).collect();
        let count = functions.len();
        functions.sort_unstable();
        functions.dedup();
        assert_eq!(functions.len(), count);
    }

    #[test]
    fn a_library_says_that_it_was_linked_with_stubs_when_it_is_loaded() {
        let folder = std::env::temp_dir().join(format!("ondol-unlinked-{}", std::process::id()));
        let log = "#include <stdio.h>\n\
                   int __android_log_write(int priority, const char *tag, const char *text) {\n\
                   return printf(\"%d %s: %s\", priority, tag, text);\n\
                   }\n\
                   int main(void) { return 0; }\n";
        write(&folder.join("log.c"), log).unwrap();
        write(&folder.join("unlinked.c"), &unlinked()).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let program = path("program");
        run("cc", &[&path("log.c"), &path("unlinked.c"), "-o", &program]).unwrap();
        let said = output(&program, &[]).unwrap();
        assert_eq!(said, format!("5 Ondol: {WARNING}"));
        assert!(check_warning(Path::new(&program), true).is_ok());
        assert!(check_warning(Path::new(&program), false).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}

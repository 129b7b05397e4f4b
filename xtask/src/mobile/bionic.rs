//! Stubs of Android's system libraries for builds without an NDK. They have the names
//! that Ondol may use, and no code.
//!
//! A library that is linked with them uses Android's own libraries on a phone. A
//! library that needs a name which is not in `bionic.txt` does not link.

use super::{Toolchain, write};
use crate::steps::{Outcome, run};
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
    write(&folder.join("unwind.c"), UNWINDER)?;
    compile("unwind.c", "unwind.o")?;
    let archive = ["rcs", &file("libunwind.a"), &file("unwind.o")];
    run(&toolchain.tool("llvm-ar"), &archive)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

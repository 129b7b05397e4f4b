//! Checks that error codes, option names, defaults and versions are the same in Rust, C,
//! Kotlin (and so Java), Swift and Python. Rust's are the source.

use crate::steps::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const KOTLIN: &str = "android/ondol/src/main/kotlin/dev/ondol";

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A name without what the languages write differently: `KvType`, `kv_type`, `KV_TYPE`.
fn plain(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

/// The part of a source between two texts.
fn between<'a>(source: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = source
        .split_once(start)
        .unwrap_or_else(|| panic!("no `{start}`"));
    rest.split_once(end)
        .unwrap_or_else(|| panic!("no `{end}` after `{start}`"))
        .0
}

/// The names and numbers of lines that `parse` understands.
fn codes(source: &str, parse: impl Fn(&str) -> Option<(&str, &str)>) -> BTreeMap<String, i32> {
    let lines = source.lines().map(str::trim);
    let pairs = lines.filter_map(|line| {
        let (name, number) = parse(line)?;
        Some((plain(name), number.trim().parse().ok()?))
    });
    pairs.collect()
}

fn rust_codes() -> BTreeMap<String, i32> {
    let source = read("runtime/src/error_code.rs");
    let body = between(&source, "pub enum ErrorCode {", "\n}").to_owned();
    codes(&body, |line| line.strip_suffix(',')?.split_once(" = "))
}

#[test]
fn error_codes_are_rusts() {
    let rust = rust_codes();
    assert!(rust.len() > 30 && rust["io"] == 10, "{rust:?}");

    let header = read("bindings/c/ondol.h");
    let mut c = codes(&header, |line| {
        let line = line.strip_prefix("ONDOL_STATUS_")?.trim_end_matches(',');
        line.split_once(" = ")
    });
    assert_eq!(c.remove("ok"), Some(0));
    assert_eq!(c, rust, "ondol.h");

    let kotlin = read(&format!("{KOTLIN}/ErrorCode.kt"));
    let kotlin = codes(&kotlin, |line| line.strip_suffix("),")?.split_once('('));
    assert_eq!(kotlin, rust, "ErrorCode.kt");

    // Only C and JNI write into a buffer of the caller.
    let mut rust = rust;
    rust.remove("buffertoosmall");
    let python = read("bindings/python/ondol/_errors.py");
    let python = between(&python, "class ErrorCode(IntEnum):", "\nclass ");
    assert_eq!(
        codes(python, |line| line.split_once(" = ")),
        rust,
        "_errors.py"
    );

    let swift = read("ios/Sources/Ondol/OndolError.swift");
    let swift = codes(&swift, |line| {
        let (name, rest) = line.strip_prefix("case .")?.split_once('(')?;
        Some((name, rest.split_once("): (")?.1.split_once(',')?.0))
    });
    assert_eq!(swift, rust, "OndolError.swift");
}

/// The first names of lines of the form `PREFIX name SUFFIX…` in a type's body.
fn fields(body: &str, prefix: &str, suffix: char) -> BTreeSet<String> {
    let lines = body.lines().map(str::trim);
    let names = lines.filter_map(|line| line.strip_prefix(prefix)?.split_once(suffix));
    let names = names.map(|(name, _)| name.trim());
    let names = names.filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
    names.map(plain).collect()
}

/// The names of an options type in Rust, and in each language for apps.
fn options(name: &str) -> (BTreeSet<String>, [(&'static str, BTreeSet<String>); 3]) {
    let rust = read("bindings/app/src/options.rs");
    let rust = fields(
        between(&rust, &format!("pub struct {name} {{"), "\n}"),
        "pub ",
        ':',
    );
    let kotlin = read(&format!("{KOTLIN}/{name}.kt"));
    let kotlin = between(&kotlin, &format!("public class {name}"), "\n}");
    let swift = read("ios/Sources/Ondol/Options.swift");
    let swift = between(&swift, &format!("public struct {name}"), "public init");
    let python = read("bindings/python/ondol/_options.py");
    let python = between(&python, &format!("class {name}(TypedDict"), "\n\n\n");
    let languages = [
        ("Kotlin", fields(kotlin, "public var ", ':')),
        ("Swift", fields(swift, "public var ", ':')),
        ("Python", fields(python, "", ':')),
    ];
    (rust, languages)
}

#[test]
fn options_have_rusts_names() {
    let (rust, languages) = options("AnswerOptions");
    assert!(rust.len() > 9, "{rust:?}");
    for (language, names) in languages {
        assert_eq!(names, rust, "AnswerOptions in {language}");
    }
    let (mut rust, languages) = options("LoadOptions");
    // The other languages have a truth value in place of this enum of two values. The governor is
    // not compared: it is an object, and not an option in every language.
    assert!(rust.remove("affinity") && rust.remove("governor"));
    rust.insert("bigcores".to_owned());
    for (language, mut names) in languages {
        names.remove("governor");
        assert_eq!(names, rust, "LoadOptions in {language}");
    }
}

#[test]
fn c_has_the_options_of_an_answer_and_of_a_session() {
    let header = read("bindings/c/ondol.h");
    let c = |name: &str| {
        let (before, _) = header.split_once(&format!("}} {name};")).expect(name);
        let (_, body) = before.rsplit_once("typedef struct {").expect(name);
        let lines = body.lines().map(str::trim);
        let names = lines.filter_map(|line| line.strip_suffix(';')?.rsplit([' ', '*']).next());
        names.map(plain).collect::<BTreeSet<_>>()
    };
    let (answer, _) = options("AnswerOptions");
    let missing: Vec<_> = answer
        .difference(&c("ondol_generate_options"))
        .cloned()
        .collect();
    assert!(
        missing.is_empty(),
        "not in ondol_generate_options: {missing:?}"
    );
    let (load, _) = options("LoadOptions");
    let c: BTreeSet<_> = c("ondol_session_options");
    // Packed copies and delegates are separate objects in C.
    let missing = load
        .difference(&c)
        .filter(|name| !name.starts_with("packed"));
    let missing: Vec<_> = missing.filter(|name| *name != "delegate").collect();
    assert!(
        missing.is_empty(),
        "not in ondol_session_options: {missing:?}"
    );
}

#[test]
fn versions_are_the_workspaces() {
    let cargo = read("Cargo.toml");
    let version = between(&cargo, "[workspace.package]\nversion = \"", "\"");
    let line = format!("<version>{version}</version>");
    // Python's version comes from Cargo, and C's files are made with Cargo's.
    assert!(read("android/pom.xml").contains(&line), "no `{line}`");
}

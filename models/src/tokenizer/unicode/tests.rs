use super::*;
use fancy_regex::Regex;
use std::fmt::Write as _;
use std::string::String;
use std::vec::Vec;
use unicode_normalization::char::decompose_canonical;

/// The categories of all code points, by the tables of the crate `regex-syntax`.
fn oracle_categories() -> Vec<Category> {
    let names = [
        r"\p{Lu}", r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{M}", r"\p{N}", r"\p{P}",
        r"\p{S}", r"\p{Z}", r"\p{C}",
    ];
    let classes: Vec<Regex> = names.iter().map(|name| Regex::new(name).unwrap()).collect();
    let unassigned = Regex::new(r"\p{Cn}").unwrap();
    let mut buffer = [0; 4];
    (0..=0x10ffff)
        .map(|code| {
            let Some(c) = char::from_u32(code) else {
                return Category::Unassigned;
            };
            let text: &str = c.encode_utf8(&mut buffer);
            if unassigned.is_match(text).unwrap() {
                return Category::Unassigned;
            }
            let class = classes
                .iter()
                .position(|class| class.is_match(text).unwrap());
            Category::ALL[class.unwrap()]
        })
        .collect()
}

fn oracle_base(c: char) -> char {
    let mut first = None;
    decompose_canonical(c, |part| {
        first.get_or_insert(part);
    });
    first.unwrap_or(c)
}

#[test]
fn categories_are_those_of_regex_syntax() {
    for (code, expected) in (0..).zip(oracle_categories()) {
        if let Some(c) = char::from_u32(code) {
            assert_eq!(category(c), expected, "U+{code:04X}");
        }
    }
}

#[test]
fn bases_are_those_of_unicode_normalization() {
    for c in '\0'..=char::MAX {
        assert_eq!(base(c), oracle_base(c), "U+{:04X}", c as u32);
    }
}

#[test]
fn lower_case_is_one_character() {
    assert_eq!(lower('É'), 'é');
    assert_eq!(lower('가'), '가');
    assert_eq!(lower('İ'), 'i');
}

/// Writes `tables.rs` to standard output:
/// `cargo test -p ondol-models print_tables -- --ignored --nocapture`
#[test]
#[ignore = "a generator, not a test"]
fn print_tables() {
    let runs = category_runs(&oracle_categories());
    let mut starts = Vec::new();
    let mut code = 0_u32;
    for (at, run) in runs.iter().enumerate() {
        if at % RUNS_PER_START == 0 {
            starts.push(code);
        }
        code += u32::from(run & RUN_LENGTH);
    }
    let pairs: Vec<(u32, u32)> = ('\u{c0}'..=char::MAX)
        .filter(|&c| hangul_syllable(c as u32).is_none() && oracle_base(c) != c)
        .map(|c| (c as u32, oracle_base(c) as u32))
        .collect();
    let first = 0x2f800;
    let (compatibility, pairs): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .partition(|&(c, _)| (first..=0x2fa1f).contains(&c));
    let (narrow, wide): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|&(c, b)| c.max(b) <= 0xffff);
    assert!(
        (first..)
            .zip(&compatibility)
            .all(|(code, &(c, _))| c == code)
    );

    let mut out = String::new();
    out += "//! Made by the test `print_tables` of this folder; don't edit.\n//!\n";
    out += "//! Categories are those of the crate `regex-syntax`, bases those of\n";
    out += "//! `unicode-normalization`, both of Unicode 16 or later.\n\n";
    table(
        &mut out,
        "Runs of one category: a tag in the high 4 bits, a length in the low 12.",
        "CATEGORY_RUNS: &[u16]",
        runs.iter().map(|run| std::format!("0x{run:04x}")),
    );
    table(
        &mut out,
        "The code point at which every 32nd run begins.",
        "RUN_STARTS: &[u32]",
        starts.iter().map(|s| std::format!("0x{s:05x}")),
    );
    table(
        &mut out,
        "Characters of the Basic Multilingual Plane and their bases, Hangul excepted.",
        "BASES: &[[u16; 2]]",
        narrow
            .iter()
            .map(|(c, b)| std::format!("[0x{c:04x}, 0x{b:04x}]")),
    );
    table(
        &mut out,
        "Characters and bases that don't fit 16 bits.",
        "WIDE_BASES: &[[u32; 2]]",
        wide.iter()
            .map(|(c, b)| std::format!("[0x{c:05x}, 0x{b:05x}]")),
    );
    writeln!(
        out,
        "/// The first of the CJK compatibility ideographs of plane 2."
    )
    .unwrap();
    writeln!(
        out,
        "pub(super) const FIRST_COMPATIBILITY: u32 = 0x{first:x};\n"
    )
    .unwrap();
    table(
        &mut out,
        "Bases of the CJK compatibility ideographs of plane 2, in order.",
        "COMPATIBILITY_BASES: &[u32]",
        compatibility.iter().map(|(_, b)| std::format!("0x{b:05x}")),
    );
    std::println!("{out}");
}

fn table(out: &mut String, doc: &str, item: &str, values: impl Iterator<Item = String>) {
    writeln!(
        out,
        "/// {doc}\n#[rustfmt::skip]\npub(super) const {item} = &["
    )
    .unwrap();
    let values: Vec<String> = values.collect();
    let per_line = 96 / (values[0].len() + 2);
    for line in values.chunks(per_line) {
        writeln!(out, "    {},", line.join(", ")).unwrap();
    }
    out.push_str("];\n\n");
}

/// Packs categories into runs, alternating ones first where they pay.
fn category_runs(categories: &[Category]) -> Vec<u16> {
    let mut runs = Vec::new();
    let mut rest = categories;
    let unassigned_tail = rest
        .iter()
        .rev()
        .take_while(|&&c| c == Category::Unassigned)
        .count();
    rest = &rest[..rest.len() - unassigned_tail];
    while let Some(&first) = rest.first() {
        let same = rest.iter().take_while(|&&c| c == first).count();
        let alternating = rest
            .iter()
            .zip([Category::Upper, Category::Lower].iter().cycle())
            .take_while(|(a, b)| a == b)
            .count();
        let (tag, length) = if alternating > same + 1 {
            (ALTERNATING, alternating.min(usize::from(RUN_LENGTH) - 1))
        } else {
            let tag = Category::ALL.iter().position(|&c| c == first).unwrap();
            (tag as u16, same.min(usize::from(RUN_LENGTH)))
        };
        runs.push(tag << 12 | length as u16);
        rest = &rest[length..];
    }
    runs
}

//! Converts strings and numbers to HTML. Every string of a report is escaped here,
//! since strings of plug-ins and model files can't be trusted.

use crate::report::Text;

/// Stands for a missing value.
pub const NONE: &str = "—";

/// English and Korean, not yet escaped.
pub type Pair<'t> = (&'t str, &'t str);

/// A text's two languages.
pub fn pair(text: &Text) -> Pair<'_> {
    (&text.en, &text.ko)
}

/// Both languages; the page shows the one that is chosen.
pub fn both((en, ko): Pair) -> String {
    let [en, ko] = [en, ko].map(escape);
    format!("<span lang=\"ko\">{ko}</span><span lang=\"en\">{en}</span>")
}

/// A string of the report, whose language is unknown.
pub fn told(text: &str) -> String {
    match text.is_empty() {
        true => NONE.to_string(),
        false => format!("<span lang=\"\">{}</span>", escape(text)),
    }
}

/// An identifier, a hash or a command.
pub fn code(text: &str) -> String {
    format!("<code lang=\"\">{}</code>", escape(text))
}

/// Escapes a string for text and for attributes in double quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\r' | '\t' => escaped.push(c),
            c if hidden(c) => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Control characters, and those that let a text be read in another order than it is
/// written in.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A shell command line with these words, quoted.
pub fn shell(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    if !word.contains(hidden) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let mut quoted = String::from("$'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if hidden(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    quoted.push_str(&format!("\\x{byte:02x}"));
                }
            }
            c => quoted.push(c),
        }
    }
    quoted + "'"
}

/// An integer as `1,234,567`.
pub fn count(value: impl ToString) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1,234,567,890 B (1.15 GiB)`.
pub fn bytes(value: u64) -> String {
    let gib = value as f64 / (1u64 << 30) as f64;
    format!("{} B ({} GiB)", count(value), number(gib))
}

/// Formats a number with three digits, integers in full.
pub fn number(value: f64) -> String {
    rounded(value, 3)
}

/// Formats numbers with enough digits to distinguish neighbours.
pub fn distinct<const N: usize>(values: [f64; N]) -> [String; N] {
    let digits = digits_of(&values);
    values.map(|value| rounded(value, digits))
}

/// Three digits, or as many as are needed to distinguish neighbours.
pub fn digits_of(values: &[f64]) -> usize {
    let told_apart = |digits: &usize| {
        let mut pairs = values.windows(2);
        pairs.all(|pair| {
            pair[0] == pair[1] || rounded(pair[0], *digits) != rounded(pair[1], *digits)
        })
    };
    (3..17).find(told_apart).unwrap_or(17)
}

/// Formats a number with `digits` digits, integers in full.
pub fn rounded(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return NONE.to_string();
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", count(value.abs() as u64));
    }
    // Rounded by formatting and parsing: the result prints with these digits and no more.
    let scientific = format!("{value:.*e}", digits - 1);
    let value: f64 = scientific.parse().unwrap_or(value);
    match value.abs() {
        1e-3..1e6 if value.fract() == 0.0 => rounded(value, digits),
        1e-3..1e6 => value.to_string(),
        _ => format!("{value:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_integers_all() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1234567.0, "1,234,567"),
            (-1000.0, "-1,000"),
            (0.123456, "0.123"),
            (0.5, "0.5"),
            (0.9999, "1"),
            (12345.6, "12,300"),
            (1.2e-7, "1.2e-7"),
            (1.23456e-7, "1.23e-7"),
            (-4.5678e9, "-4,567,800,000"),
            (1e300, "1e300"),
            (f64::NAN, NONE),
            (f64::NEG_INFINITY, NONE),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            [0, 999, 1000, u64::MAX].map(count),
            ["0", "999", "1,000", "18,446,744,073,709,551,615"]
        );
    }

    #[test]
    fn what_differs_reads_differently() {
        assert_eq!(distinct([0.010001, 0.01]), ["0.010001", "0.01"]);
        assert_eq!(distinct([0.5, 0.5]), ["0.5", "0.5"]);
        assert_eq!(distinct([99.97, 100.0]), ["99.97", "100"]);
        assert_eq!(distinct([0.1, f64::NAN]), ["0.1", NONE]);
        assert_ne!(distinct([1.0, 1.0f64.next_up()]), ["1", "1"]);
    }

    #[test]
    fn nothing_stays_that_could_break_out_or_hide() {
        assert_eq!(
            escape("<a b=\"c\" d='e'>&\0\u{1b}\u{202e}\u{85}가\n"),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\u{fffd}\u{fffd}\u{fffd}\u{fffd}가\n"
        );
    }

    #[test]
    fn a_shell_gives_the_words_again() {
        let words = [
            "ondol",
            "",
            "a b",
            "$HOME",
            "it's",
            "~",
            "*",
            "가",
            "x\ny\\'\u{202e}",
            "`id`",
            "A=b",
        ]
        .map(String::from);
        let line = shell(&words);
        assert!(!line.contains(hidden), "{line}");
        assert_eq!(
            line,
            r"ondol '' 'a b' '$HOME' 'it'\''s' '~' '*' '가' $'x\x0ay\\\'\xe2\x80\xae' '`id`' 'A=b'"
        );
    }
}

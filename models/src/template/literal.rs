//! Literals: Python's escapes and numbers, written for minijinja.

use super::expression::Parsed;

/// Appends a literal, which has its quotes, as text between double quotes. A line break in
/// the source stays one, so that lines are counted as before.
pub(super) fn push_text(out: &mut String, literal: &str) -> Parsed<()> {
    let quote = literal.chars().next().unwrap_or('"');
    let inner = literal[1..].strip_suffix(quote);
    let Some(inner) = inner.filter(|_| literal.len() > 1) else {
        return Err("a text is not closed".to_owned());
    };
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        rest[..at].chars().for_each(|c| push_char(out, c));
        rest = &rest[at + 1..];
        rest = push_escape(out, rest)?;
    }
    rest.chars().for_each(|c| push_char(out, c));
    Ok(())
}

/// Appends the character of an escape sequence; `rest` begins after its backslash. Returns
/// what follows the sequence.
fn push_escape<'a>(out: &mut String, rest: &'a str) -> Parsed<&'a str> {
    let Some(c) = rest.chars().next() else {
        return Err("a text is not closed".to_owned());
    };
    let after = &rest[c.len_utf8()..];
    let plain = match c {
        '\n' => return Ok(after),
        '\\' | '\'' | '"' => c,
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => {
            out.push_str("\\n");
            return Ok(after);
        }
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'x' => return push_hex(out, after, 2),
        'u' => return push_hex(out, after, 4),
        'U' => return push_hex(out, after, 8),
        'N' => return Err("`\\N{…}` in a text is not supported".to_owned()),
        '0'..='7' => {
            let digits = rest
                .bytes()
                .take(3)
                .take_while(|b| matches!(b, b'0'..=b'7'));
            let len = digits.count();
            let code = u32::from_str_radix(&rest[..len], 8).unwrap_or_default();
            push_char(out, char::from_u32(code).unwrap_or_default());
            return Ok(&rest[len..]);
        }
        c => {
            out.push_str("\\\\");
            c
        }
    };
    push_char(out, plain);
    Ok(after)
}

/// Appends the character of a code of `len` hexadecimal digits, or of two codes that are
/// UTF-16 surrogates.
fn push_hex<'a>(out: &mut String, rest: &'a str, len: usize) -> Parsed<&'a str> {
    let code = |text: &str| {
        let digits = text
            .get(..len)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok())
    };
    let bad = || "a text has an escape that is not a character".to_owned();
    let first = code(rest).ok_or_else(bad)?;
    if let Some(c) = char::from_u32(first) {
        push_char(out, c);
        return Ok(&rest[len..]);
    }
    let second = rest[len..].strip_prefix("\\u").filter(|_| len == 4);
    let halves = second
        .and_then(code)
        .map(|second| [first as u16, second as u16]);
    let c = halves.and_then(|halves| char::decode_utf16(halves).next()?.ok());
    push_char(out, c.ok_or_else(bad)?);
    Ok(&rest[len + 2 + len..])
}

fn push_char(out: &mut String, c: char) {
    match c {
        '"' | '\\' => {
            out.push('\\');
            out.push(c);
        }
        '\n' => out.push(c),
        c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push(c),
    }
}

/// Whether a character is a digit.
type Digit = fn(char) -> bool;

/// A number, checked by Python's rules.
pub(super) fn number(text: &str) -> Parsed<String> {
    let lower = text.to_ascii_lowercase();
    let bad = Err(format!("`{text}` is not a number"));
    let grouped = |digits: &str, allowed: Digit| {
        !digits.is_empty()
            && digits
                .split('_')
                .all(|group| !group.is_empty() && group.chars().all(allowed))
    };
    let decimal = |c: char| c.is_ascii_digit();
    let radix: Option<(&str, Digit)> = match lower.get(..2) {
        Some("0x") => Some((&lower[2..], |c| c.is_ascii_hexdigit())),
        Some("0o") => Some((&lower[2..], |c| matches!(c, '0'..='7'))),
        Some("0b") => Some((&lower[2..], |c| matches!(c, '0' | '1'))),
        _ => None,
    };
    if let Some((digits, allowed)) = radix {
        let digits = digits.strip_prefix('_').unwrap_or(digits);
        return if grouped(digits, allowed) {
            Ok(lower.replace('_', ""))
        } else {
            bad
        };
    }
    let (mantissa, exponent) = match lower.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (lower.as_str(), None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let exponent_digits = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
    let parts = [Some(whole), fraction, exponent_digits];
    let is_integer = fraction.is_none() && exponent.is_none();
    let leading_zero =
        whole.len() > 1 && whole.starts_with('0') && whole.contains(|c| c != '0' && c != '_');
    if !parts
        .into_iter()
        .flatten()
        .all(|part| grouped(part, decimal))
        || is_integer && leading_zero
    {
        return bad;
    }
    let plain = lower.replace('_', "");
    Ok(match plain.trim_start_matches('0') {
        _ if !is_integer => plain,
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    })
}

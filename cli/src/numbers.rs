//! Numbers on the command line. Anything that is not a finite number is refused, with
//! the name of the option.

use std::ops::{Bound, RangeBounds};
use std::str::FromStr;

/// A whole number from 0 on.
pub fn count(text: &str) -> Result<usize, String> {
    let number = text.parse();
    number.map_err(|_| "a whole number of at least 0 is needed".to_owned())
}

/// Bytes, as in "4GiB", "1.5 GB" or "1000000".
pub fn bytes(text: &str) -> Result<u64, String> {
    let wanted = "a size such as 500MB or 4GiB";
    let unit = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(unit.unwrap_or(text.len()));
    let unit: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1024_f64.powi(2),
        "gi" | "gib" => 1024_f64.powi(3),
        "ti" | "tib" => 1024_f64.powi(4),
        _ => return Err(format!("{wanted} is needed")),
    };
    let number: f64 = within(number.trim(), 0.0.., wanted)?;
    Ok((number * unit) as u64)
}

/// A number from 0 on.
pub fn at_least_zero<T: Float>(text: &str) -> Result<T, String> {
    within(text, 0.0.., "a number of at least 0")
}

/// A number above 0.
pub fn above_zero<T: Float>(text: &str) -> Result<T, String> {
    let range = (Bound::Excluded(0.0), Bound::Unbounded);
    within(text, range, "a number above 0")
}

/// A share of a whole.
pub fn share<T: Float>(text: &str) -> Result<T, String> {
    within(text, 0.0..=1.0, "a number from 0 to 1")
}

/// A share of a whole, above 0.
pub fn share_above_zero<T: Float>(text: &str) -> Result<T, String> {
    let range = (Bound::Excluded(0.0), Bound::Included(1.0));
    within(text, range, "a number above 0 and at most 1")
}

/// Any number.
pub fn any<T: Float>(text: &str) -> Result<T, String> {
    within(text, .., "a number")
}

/// `f32` or `f64`.
pub trait Float: FromStr + Copy + Into<f64> {}
impl Float for f32 {}
impl Float for f64 {}

fn within<T: Float>(text: &str, range: impl RangeBounds<f64>, wanted: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|&number: &T| {
        let number = number.into();
        number.is_finite() && range.contains(&number)
    });
    number.ok_or_else(|| format!("{wanted} is needed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_refused_everywhere() {
        let parsers = [at_least_zero, above_zero, share, share_above_zero, any];
        for text in [
            "nan", "NaN", "-nan", "inf", "-inf", "infinity", "1e39", "", "x", "1,5",
        ] {
            for parse in parsers {
                assert!(
                    parse(text).is_err_and(|e: String| e.contains("number")),
                    "{text}"
                );
            }
            assert!(text == "1e39" || any::<f64>(text).is_err());
        }
        for parse in parsers {
            assert_eq!(parse("0.5"), Ok(0.5_f32));
        }
    }

    #[test]
    fn sizes_have_units() {
        let sizes = [
            ("0", 0),
            ("1000000", 1_000_000),
            ("500MB", 500_000_000),
            ("1.5 gb", 1_500_000_000),
            ("4GiB", 4 << 30),
            ("2k", 2000),
        ];
        for (text, size) in sizes {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "GB", "-1", "1XB", "1e3", "nan", "inf", "1 2", "MB5"] {
            assert!(bytes(text).is_err_and(|e| e.contains("size")), "{text}");
        }
    }

    #[test]
    fn ranges_have_the_ends_that_they_say() {
        let takes = |parse: fn(&str) -> Result<f32, String>| {
            ["-1", "0", "1", "1.01"].map(|text| parse(text).is_ok())
        };
        assert_eq!(takes(at_least_zero), [false, true, true, true]);
        assert_eq!(takes(above_zero), [false, false, true, true]);
        assert_eq!(takes(share), [false, true, true, false]);
        assert_eq!(takes(share_above_zero), [false, false, true, false]);
        assert_eq!(takes(any), [true; 4]);
    }
}

//! Judges outputs of the device by what its declared arithmetic explains.
//!
//! The reference part computes the same graph on the same inputs twice: with exact
//! sums, and in the arithmetic that the device declares. The distance between these two
//! is what the declaration explains. The device may be four times as far from the exact
//! result, in the whole, in every row and in every element, and its outputs may not be
//! larger or smaller as a whole.

use crate::gates::{is_as_bad, worse};
use crate::report::{Level, Text};

/// The largest error of a device that passes, as a multiple of the declared arithmetic's error.
/// A row has more room: a few outputs say little about an error.
const ROOM: f64 = 4.0;

/// The NMSE (squared error divided by squared length) that passes whatever the device declares:
/// values between operations may be half floats.
pub const FLOOR: f64 = 1e-6;

/// The error of an element that passes whatever the device declares, in standard deviations of
/// its row's errors. In a normal distribution one of 10^15 elements is beyond 8.
const SIGMAS: f64 = 8.0;

/// The three results of one output, row after row.
#[derive(Clone, Copy)]
pub struct Results<'r> {
    /// By the device.
    pub found: &'r [f32],
    /// With exact sums.
    pub exact: &'r [f32],
    /// In the arithmetic that the device declares.
    pub declared: &'r [f32],
    /// Numbers in a row.
    pub cols: usize,
}

/// A measured number beside its limit, and where it was measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    pub found: f64,
    pub limit: f64,
    pub place: String,
}

/// The worst measurements of several outputs.
#[derive(Debug, Clone, Default)]
pub struct Judgement {
    /// NMSE of an output.
    pub whole: Measured,
    /// NMSE of a row.
    pub row: Measured,
    /// Error of an element, in standard deviations.
    pub element: Measured,
    /// How much larger or smaller an output is as a whole: the distance from 1 of the
    /// factor that fits best.
    pub scale: Measured,
}

impl Measured {
    fn new(found: f64, limit: f64, place: &str) -> Measured {
        Measured {
            found,
            limit,
            place: place.to_owned(),
        }
    }

    /// Keeps the measurement that is the larger share of its limit.
    fn keep_worse(&mut self, other: Measured) {
        let of_limit = |measured: &Measured| match measured.limit {
            0.0 => measured.found,
            limit => measured.found / limit,
        };
        if self.place.is_empty() || is_as_bad(of_limit(&other), of_limit(self)) {
            *self = other;
        }
    }

    #[cfg(test)]
    fn passes(&self) -> bool {
        self.found <= self.limit
    }
}

impl Judgement {
    /// Judges an output.
    ///
    /// # Errors
    /// A number that is not finite, with its place.
    pub fn of(results: Results, place: &str) -> Result<Judgement, String> {
        let Results { found, cols, .. } = results;
        if let Some(at) = found.iter().position(|x| !x.is_finite()) {
            let (row, col) = (at / cols, at % cols);
            return Err(format!("{} in row {row}, column {col}, {place}", found[at]));
        }
        let mut judgement = Judgement {
            whole: whole(results, place),
            scale: scale(results, place),
            ..Judgement::default()
        };
        judgement.rows(results, place);
        Ok(judgement)
    }

    /// Keeps the worst of two judgements.
    pub fn keep_worst(&mut self, other: Judgement) {
        self.whole.keep_worse(other.whole);
        self.row.keep_worse(other.row);
        self.element.keep_worse(other.element);
        self.scale.keep_worse(other.scale);
    }

    /// Judges every row, and every element by its row.
    fn rows(&mut self, results: Results, place: &str) {
        let Results {
            found,
            exact,
            declared,
            cols,
        } = results;
        let share = nmse(declared, exact);
        let tail = tail(results);
        let rows = found.chunks_exact(cols).zip(exact.chunks_exact(cols));
        for (row, ((found, exact), declared)) in rows.zip(declared.chunks_exact(cols)).enumerate() {
            let place = format!("row {row}, {place}");
            let length = energy(exact);
            // The declared arithmetic's error in one row may be small by chance.
            let explained = distance(declared, exact).max(share * length);
            let room = ROOM * (1.0 + 8.0 / (cols as f64).sqrt());
            let limit = (room * relative(explained, length)).max(FLOOR);
            let error = distance(found, exact);
            let row = Measured::new(relative(error, length), limit, &place);
            self.row.keep_worse(row);
            let sigma = (explained.max(FLOOR * length) / cols as f64).sqrt();
            let limit = SIGMAS.max(ROOM * tail);
            let element = relative(largest(found, exact), sigma);
            self.element
                .keep_worse(Measured::new(element, limit, &place));
        }
    }

    /// Records the four measurements as gates `id.nmse`, `id.row`, `id.element` and `id.scale`.
    pub fn record(&self, level: &mut Level, id: &str, title: &Text) {
        let gates = [
            ("nmse", "NMSE", "정규화 제곱오차", &self.whole, ""),
            (
                "row",
                "NMSE of the worst row",
                "최악 행의 정규화 제곱오차",
                &self.row,
                "",
            ),
            (
                "element",
                "error of the worst element",
                "최악 원소의 오차",
                &self.element,
                "σ",
            ),
            (
                "scale",
                "as a whole too large or too small",
                "전체 크기의 치우침",
                &self.scale,
                "",
            ),
        ];
        for (what, en, ko, measured, unit) in gates {
            let title = Text::new(format!("{}: {en}", title.en), format!("{}: {ko}", title.ko));
            let id = format!("{id}.{what}");
            let gate = level.at_most(&id, title, measured.found, measured.limit);
            gate.unit = unit.to_owned();
            gate.note = measured.place.clone();
        }
    }
}

fn whole(results: Results, place: &str) -> Measured {
    let explained = nmse(results.declared, results.exact);
    let found = nmse(results.found, results.exact);
    Measured::new(found, (ROOM * explained).max(FLOOR), place)
}

/// How far the best-fitting factor of an output is from 1. An NMSE hides such a factor: a device
/// that truncates can make every output one percent smaller.
fn scale(results: Results, place: &str) -> Measured {
    let exact = results.exact;
    let length = energy(exact);
    let factor = |values: &[f32]| match length {
        0.0 => 0.0,
        length => (product(values, exact) / length - 1.0).abs(),
    };
    let explained = nmse(results.declared, exact).max(FLOOR);
    // The standard deviation of the factor if errors of this size are random.
    let chance = (explained / exact.len() as f64).sqrt();
    let limit = ROOM * (factor(results.declared) + chance) + 1e-4;
    Measured::new(factor(results.found), limit, place)
}

/// The largest error of the declared arithmetic, in standard deviations of its row's errors. In
/// a span that multiplies values, errors are not normally distributed, so it may be large.
fn tail(results: Results) -> f64 {
    let Results {
        exact,
        declared,
        cols,
        ..
    } = results;
    let rows = declared.chunks_exact(cols).zip(exact.chunks_exact(cols));
    let of_row = |(declared, exact): (&[f32], &[f32])| {
        let sigma = (distance(declared, exact) / cols as f64).sqrt();
        relative(largest(declared, exact), sigma)
    };
    rows.map(of_row).fold(0.0, worse)
}

/// The squared distance divided by the squared length; 0 if the distance is 0.
pub fn nmse(found: &[f32], expected: &[f32]) -> f64 {
    relative(distance(found, expected), energy(expected))
}

fn relative(part: f64, of: f64) -> f64 {
    if part == 0.0 { 0.0 } else { part / of }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let apart = |(a, b): (&f32, &f32)| f64::from(*a) - f64::from(*b);
    a.iter().zip(b).map(apart).map(|x| x * x).sum()
}

fn largest(a: &[f32], b: &[f32]) -> f64 {
    let apart = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
    a.iter().zip(b).map(apart).fold(0.0, worse)
}

fn energy(values: &[f32]) -> f64 {
    product(values, values)
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::normal;

    const COLS: usize = 576;
    const ROWS: usize = 256;

    /// An exact result, and one with errors of `size` beside it.
    fn exact_and_near(size: f32) -> [Vec<f32>; 2] {
        let exact = normal(1, ROWS * COLS);
        let errors = normal(2, ROWS * COLS);
        let near = exact.iter().zip(&errors).map(|(x, e)| x + size * e);
        let near = near.collect();
        [exact, near]
    }

    /// A part with other errors of the size that its arithmetic explains.
    fn part(exact: &[f32], size: f32) -> Vec<f32> {
        let errors = normal(3, exact.len());
        exact
            .iter()
            .zip(&errors)
            .map(|(x, e)| x + size * e)
            .collect()
    }

    fn judge(found: &[f32], exact: &[f32], declared: &[f32]) -> Judgement {
        let results = Results {
            found,
            exact,
            declared,
            cols: COLS,
        };
        Judgement::of(results, "here").unwrap()
    }

    fn passed(judgement: &Judgement) -> [bool; 4] {
        let Judgement {
            whole,
            row,
            element,
            scale,
        } = judgement;
        [whole, row, element, scale].map(Measured::passes)
    }

    #[test]
    fn errors_of_the_declared_size_pass() {
        for size in [0.0, 1e-4, 1e-2] {
            let [exact, declared] = exact_and_near(size);
            let found = part(&exact, 1.5 * size);
            let judgement = judge(&found, &exact, &declared);
            assert_eq!(passed(&judgement), [true; 4], "{size}: {judgement:?}");
        }
    }

    #[test]
    fn one_wrong_row_fails_as_a_row() {
        let [exact, declared] = exact_and_near(1e-2);
        let mut found = part(&exact, 1e-2);
        found[64 * COLS..65 * COLS]
            .iter_mut()
            .for_each(|x| *x *= 1.1);
        let judgement = judge(&found, &exact, &declared);
        let [whole, row, ..] = passed(&judgement);
        assert!(whole && !row, "{judgement:?}");
        assert!(judgement.row.place.starts_with("row 64,"), "{judgement:?}");
    }

    #[test]
    fn one_wrong_element_fails_as_an_element() {
        let [exact, declared] = exact_and_near(1e-2);
        let mut found = part(&exact, 1e-2);
        let at = 100 * COLS + 5;
        found[at] = 3.0 * exact[at] + 1.0;
        let judgement = judge(&found, &exact, &declared);
        let [whole, _, element, _] = passed(&judgement);
        assert!(whole && !element, "{judgement:?}");
    }

    #[test]
    fn a_whole_that_is_smaller_fails_by_its_scale() {
        let [exact, declared] = exact_and_near(1e-2);
        let found: Vec<f32> = part(&exact, 1e-2).iter().map(|x| x * 0.99).collect();
        let judgement = judge(&found, &exact, &declared);
        let [whole, .., scale] = passed(&judgement);
        assert!(whole && !scale, "{judgement:?}");
    }

    #[test]
    fn what_is_no_number_is_an_error_with_its_place() {
        let [exact, declared] = exact_and_near(1e-2);
        let mut found = exact.clone();
        found[3 * COLS + 7] = f32::NAN;
        let results = Results {
            found: &found,
            exact: &exact,
            declared: &declared,
            cols: COLS,
        };
        let error = Judgement::of(results, "here").unwrap_err();
        assert!(error.contains("row 3, column 7"), "{error}");
    }

    #[test]
    fn zeros_must_be_zeros() {
        let zeros = vec![0.0; COLS];
        assert_eq!(passed(&judge(&zeros, &zeros, &zeros)), [true; 4]);
        let mut found = zeros.clone();
        found[9] = 1e-3;
        assert_ne!(passed(&judge(&found, &zeros, &zeros)), [true; 4]);
    }
}

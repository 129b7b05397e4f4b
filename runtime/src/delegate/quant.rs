//! The forms of weights that devices take: symmetric integers with a scale for each
//! group of neighbouring numbers or for each row, or floats.

use super::ffi;
use half::f16;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// The type of a stored number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Store {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers from -127 to 127.
    I8,
    /// 4-bit integers from -8 to 7, two in a byte.
    I4,
}

/// The numbers that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// This many neighbours in a row.
    Of(usize),
    /// All numbers of a row.
    Row,
}

/// A form of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quant {
    /// Type of the numbers.
    pub store: Store,
    /// The numbers that share a scale. Meaningless for floats.
    pub group: Group,
    /// Whether scales are f32; otherwise they are f16.
    pub wide_scales: bool,
}

/// The data of a weight in some form.
#[derive(Debug, Clone, Default)]
pub struct Quantized {
    /// The numbers. Each row begins at a whole byte.
    pub data: Vec<u8>,
    /// The scales, row after row.
    pub scales: Vec<u8>,
}

/// A form whose loss is above this is not chosen if another form loses less. It is about
/// the loss of 8-bit integers in groups of 32.
const ACCEPTED: f64 = 5e-5;

impl core::fmt::Display for Quant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let scales = if self.wide_scales { "f32" } else { "f16" };
        match (self.store, self.group) {
            (Store::F32, _) => f.write_str("f32"),
            (Store::F16, _) => f.write_str("f16"),
            (store, Group::Of(n)) => {
                write!(f, "{} in groups of {n}, scales {scales}", store.name())
            }
            (store, Group::Row) => write!(f, "{} by rows, scales {scales}", store.name()),
        }
    }
}

impl Store {
    fn name(self) -> &'static str {
        match self {
            Store::F32 => "f32",
            Store::F16 => "f16",
            Store::I8 => "i8",
            Store::I4 => "i4",
        }
    }
}

impl Quant {
    /// 32-bit floats.
    pub const F32: Quant = Quant::floats(Store::F32);
    /// 16-bit floats.
    pub const F16: Quant = Quant::floats(Store::F16);

    const fn floats(store: Store) -> Quant {
        Quant {
            store,
            group: Group::Row,
            wide_scales: false,
        }
    }

    /// A short name, such as `i8-32` or `i4-row`.
    pub fn id(&self) -> String {
        match (self.store, self.group) {
            (Store::F32 | Store::F16, _) => self.store.name().to_string(),
            (store, Group::Of(n)) => format!("{}-{n}", store.name()),
            (store, Group::Row) => format!("{}-row", store.name()),
        }
    }

    /// Converts a form of the C ABI; `None` if this build does not know it.
    pub fn from_raw(raw: &ffi::Quant) -> Option<Quant> {
        let store = match raw.store {
            ffi::F32 => Store::F32,
            ffi::F16 => Store::F16,
            ffi::I8 => Store::I8,
            ffi::I4 => Store::I4,
            _ => return None,
        };
        let (group, wide_scales) = match (store, raw.group, raw.scale_type) {
            (Store::F32 | Store::F16, 0, _) => (Group::Row, false),
            (Store::F32 | Store::F16, ..) | (_, 0, _) => return None,
            (_, ffi::GROUP_ROW, ffi::F16 | ffi::F32) => (Group::Row, raw.scale_type == ffi::F32),
            (_, group, ffi::F16 | ffi::F32) => {
                (Group::Of(group as usize), raw.scale_type == ffi::F32)
            }
            _ => return None,
        };
        Some(Quant {
            store,
            group,
            wide_scales,
        })
    }

    /// The form in the C ABI.
    pub fn raw(&self) -> ffi::Quant {
        let (store, integer) = match self.store {
            Store::F32 => (ffi::F32, false),
            Store::F16 => (ffi::F16, false),
            Store::I8 => (ffi::I8, true),
            Store::I4 => (ffi::I4, true),
        };
        let group = match self.group {
            Group::Of(n) => n as u32,
            Group::Row => ffi::GROUP_ROW,
        };
        let scale_type = if self.wide_scales { ffi::F32 } else { ffi::F16 };
        ffi::Quant {
            hdr: ffi::Hdr::of::<ffi::Quant>(),
            store,
            group: if integer { group } else { 0 },
            scale_type: if integer { scale_type } else { 0 },
        }
    }

    /// Bits of one number, without its share of a scale.
    pub fn bits(&self) -> usize {
        match self.store {
            Store::F32 => 32,
            Store::F16 => 16,
            Store::I8 => 8,
            Store::I4 => 4,
        }
    }

    /// How many numbers of a row of `cols` share a scale.
    pub fn group_len(&self, cols: usize) -> usize {
        match self.group {
            Group::Of(n) => n,
            Group::Row => cols.max(1),
        }
    }

    /// Whether a row of `cols` numbers consists of whole groups, and each group of
    /// whole bytes.
    pub fn fits(&self, cols: usize) -> bool {
        let group = self.group_len(cols);
        let whole_bytes = (group * self.bits()).is_multiple_of(8);
        cols > 0 && cols.is_multiple_of(group) && whole_bytes
    }

    /// The bytes of the numbers and of the scales of a weight of `rows x cols`; `None` if
    /// rows of `cols` do not fit, or the weight is too large to address.
    pub fn sizes(&self, rows: usize, cols: usize) -> Option<(usize, usize)> {
        let row = self.fits(cols).then(|| cols.checked_mul(self.bits()))??;
        let scales = match (self.store, self.wide_scales) {
            (Store::F32 | Store::F16, _) => 0,
            (_, false) => cols / self.group_len(cols) * 2,
            (_, true) => cols / self.group_len(cols) * 4,
        };
        Some((rows.checked_mul(row / 8)?, rows.checked_mul(scales)?))
    }

    /// Appends `row` in this form. Its length must satisfy [`Quant::fits`].
    ///
    /// # Panics
    /// If the form has groups of 0 numbers, which [`Quant::fits`] excludes.
    pub fn quantize_row(&self, row: &[f32], out: &mut Quantized) {
        match self.store {
            Store::F32 => out.data.extend(row.iter().flat_map(|x| x.to_le_bytes())),
            Store::F16 => {
                let halves = row.iter().map(|&x| f16::from_f32(x));
                out.data.extend(halves.flat_map(f16::to_le_bytes));
            }
            Store::I8 | Store::I4 => {
                let group = self.group_len(row.len());
                row.chunks(group).for_each(|x| self.quantize_group(x, out));
            }
        }
    }

    /// Appends the integers and the scale of a group. Of several candidate scales it
    /// takes the one with the smallest error.
    fn quantize_group(&self, x: &[f32], out: &mut Quantized) {
        let error = |scale: f32| -> f64 {
            let wrong = x.iter().map(|&x| self.restored(x, scale) - f64::from(x));
            wrong.map(|e| e * e).sum()
        };
        let [first, second] = self.scales(x);
        let scale = match first == second || error(first) <= error(second) {
            true => first,
            false => second,
        };
        match self.wide_scales {
            true => out.scales.extend(scale.to_le_bytes()),
            false => out.scales.extend(f16::from_f32(scale).to_le_bytes()),
        }
        let numbers: Vec<i8> = x.iter().map(|&x| self.number(x, scale)).collect();
        match self.store {
            Store::I4 => out.data.extend(numbers.chunks_exact(2).map(|pair| {
                let nibble = |n: i8| n.to_ne_bytes()[0] & 15;
                nibble(pair[0]) | nibble(pair[1]) << 4
            })),
            _ => out.data.extend(numbers.iter().map(|n| n.to_ne_bytes()[0])),
        }
    }

    /// Candidate scales for a group, rounded as they are stored. For a block of Q8_0 or
    /// Q4_0 the block's own scale is among them, so such blocks are converted without
    /// loss.
    fn scales(&self, x: &[f32]) -> [f32; 2] {
        let extreme = x
            .iter()
            .fold(0.0f32, |a, &b| if b.abs() > a.abs() { b } else { a });
        let candidates = match self.store {
            Store::I4 => [extreme / -8.0, extreme / 7.0],
            _ => [extreme.abs() / 127.0; 2],
        };
        candidates.map(|scale| match self.wide_scales {
            true => scale,
            false => f16::from_f32(scale).to_f32(),
        })
    }

    /// The integer that represents `x`.
    fn number(&self, x: f32, scale: f32) -> i8 {
        let (low, high) = match self.store {
            Store::I4 => (-8.0, 7.0),
            _ => (-127.0, 127.0),
        };
        if scale == 0.0 {
            return 0;
        }
        // The value is in range; NaN becomes 0.
        (x / scale).round_ties_even().clamp(low, high) as i8
    }

    fn restored(&self, x: f32, scale: f32) -> f64 {
        f64::from(self.number(x, scale)) * f64::from(scale)
    }

    /// The floats that row `row` of `cols` numbers in this form represents.
    ///
    /// # Panics
    /// If `stored` does not have this row.
    pub fn dequantize_row(&self, stored: &Quantized, row: usize, cols: usize) -> Vec<f32> {
        let bytes = |width: usize| &stored.data[row * cols * width..(row + 1) * cols * width];
        match self.store {
            Store::F32 => {
                let floats = bytes(4).chunks_exact(4);
                floats
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect()
            }
            Store::F16 => {
                let halves = bytes(2).chunks_exact(2);
                halves
                    .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
                    .collect()
            }
            Store::I8 | Store::I4 => {
                let group = self.group_len(cols);
                let scale = |col: usize| self.scale(stored, (row * cols + col) / group);
                (0..cols)
                    .map(|col| self.integer(stored, row, col, cols) * scale(col))
                    .collect()
            }
        }
    }

    fn scale(&self, stored: &Quantized, index: usize) -> f32 {
        let s = &stored.scales;
        match self.wide_scales {
            true => f32::from_le_bytes([
                s[4 * index],
                s[4 * index + 1],
                s[4 * index + 2],
                s[4 * index + 3],
            ]),
            false => f16::from_le_bytes([s[2 * index], s[2 * index + 1]]).to_f32(),
        }
    }

    fn integer(&self, stored: &Quantized, row: usize, col: usize, cols: usize) -> f32 {
        let integer = match self.store {
            Store::I4 => {
                let byte = stored.data[(row * cols + col) / 2];
                // The shift right extends the sign of the upper four bits.
                let high = if col.is_multiple_of(2) {
                    byte << 4
                } else {
                    byte
                };
                i8::from_ne_bytes([high]) >> 4
            }
            _ => i8::from_ne_bytes([stored.data[row * cols + col]]),
        };
        f32::from(integer)
    }

    /// The relative squared error of this form: sum of squared errors over sum of
    /// squares, over the given rows.
    pub fn loss<'r>(&self, rows: impl Iterator<Item = &'r [f32]>) -> f64 {
        let (mut lost, mut all) = (0.0, 0.0);
        for row in rows {
            let mut stored = Quantized::default();
            self.quantize_row(row, &mut stored);
            for (x, y) in row.iter().zip(self.dequantize_row(&stored, 0, row.len())) {
                let (x, y) = (f64::from(*x), f64::from(y));
                lost += (x - y) * (x - y);
                all += x * x;
            }
        }
        if all == 0.0 { 0.0 } else { lost / all }
    }
}

/// Chooses the form in which a weight is handed over, and returns it with its
/// [`Quant::loss`]. It is the smallest of the offered forms whose loss is accepted, or
/// else the one with the smallest loss; `None` if no form fits rows of `cols`. `rows`
/// are samples of the weight's rows.
pub fn choose(offered: &[Quant], rows: &[Vec<f32>], cols: usize) -> Option<(Quant, f64)> {
    let fitting = offered.iter().filter(|quant| quant.fits(cols));
    let loss = |quant: &Quant| quant.loss(rows.iter().map(Vec::as_slice));
    let all: Vec<(Quant, f64)> = fitting.map(|quant| (*quant, loss(quant))).collect();
    let good = all.iter().filter(|(_, loss)| *loss <= ACCEPTED);
    let best = |a: &&(Quant, f64), b: &&(Quant, f64)| a.1.total_cmp(&b.1);
    let smallest = good.min_by(|a, b| a.0.bits().cmp(&b.0.bits()).then(best(a, b)));
    smallest.or_else(|| all.iter().min_by(best)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ondol_models::quant::{DType, dequantize, quantize};
    use proptest::prelude::*;
    use std::vec;

    const ALL: [Quant; 6] = [
        form(Store::F32, Group::Row, false),
        form(Store::F16, Group::Row, false),
        form(Store::I8, Group::Of(32), false),
        form(Store::I8, Group::Row, true),
        form(Store::I4, Group::Of(32), false),
        form(Store::I4, Group::Of(128), true),
    ];

    const fn form(store: Store, group: Group, wide_scales: bool) -> Quant {
        Quant {
            store,
            group,
            wide_scales,
        }
    }

    /// Numbers that a file's own quantizer gives for `dtype`.
    fn as_in_a_file(dtype: DType, row: &[f32]) -> Vec<f32> {
        let mut bytes = vec![0; dtype.row_bytes(row.len()).unwrap()];
        quantize(dtype, row, &mut bytes, None).unwrap();
        let mut back = vec![0.0; row.len()];
        dequantize(dtype, &bytes, &mut back).unwrap();
        back
    }

    #[test]
    fn what_a_plug_in_describes_comes_back() {
        for quant in ALL {
            assert_eq!(Quant::from_raw(&quant.raw()), Some(quant));
        }
        let strange = ffi::Quant {
            group: 0,
            ..ALL[2].raw()
        };
        assert_eq!(Quant::from_raw(&strange), None);
    }

    /// Files of Q8_0 and Q4_0 lose nothing on a device that takes such groups.
    #[test]
    fn blocks_of_a_file_stay_as_they_are() {
        let row: Vec<f32> = (0..256)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013)
            .collect();
        for (dtype, quant) in [(DType::Q8_0, ALL[2]), (DType::Q4_0, ALL[4])] {
            let row = as_in_a_file(dtype, &row);
            assert_eq!(quant.loss([row.as_slice()].into_iter()), 0.0, "{dtype:?}");
        }
    }

    #[test]
    fn the_smallest_form_that_loses_nothing_is_chosen() {
        let row: Vec<f32> = (0..256)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013)
            .collect();
        let chosen = |row: &[f32], offered: &[Quant]| choose(offered, &[row.to_vec()], row.len());
        let q4 = as_in_a_file(DType::Q4_0, &row);
        assert_eq!(chosen(&q4, &ALL).unwrap().0, ALL[4]);
        assert_eq!(chosen(&row, &ALL).unwrap().0, ALL[2]);
        // None is good enough: the one that loses least.
        assert_eq!(chosen(&row, &ALL[4..]).unwrap().0, ALL[4]);
        assert!(chosen(&row[..33], &ALL[4..]).is_none());
    }

    proptest! {
        /// For any numbers, restored values are within half a step, and rows do not
        /// affect each other.
        #[test]
        fn rows_come_back(
            rows in prop::collection::vec(prop::collection::vec(-1e4f32..1e4, 128), 1..4),
            form in 0..ALL.len(),
        ) {
            let quant = ALL[form];
            let mut stored = Quantized::default();
            rows.iter().for_each(|row| quant.quantize_row(row, &mut stored));
            prop_assert_eq!(stored.data.len(), rows.len() * 128 * quant.bits() / 8);
            let steps = match quant.store {
                Store::F32 => f32::INFINITY,
                Store::F16 => 2048.0,
                Store::I8 => 252.0,
                // The far end of what has no -8.
                Store::I4 => 8.0,
            };
            for (i, row) in rows.iter().enumerate() {
                let back = quant.dequantize_row(&stored, i, 128);
                let groups = row.chunks(quant.group_len(128)).zip(back.chunks(quant.group_len(128)));
                for (x, y) in groups {
                    let largest = x.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                    // The scale itself has 11 bits.
                    let bound = largest / steps + largest / 1000.0 + 1e-6;
                    prop_assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() <= bound), "{:?}", quant);
                }
            }
        }
    }
}

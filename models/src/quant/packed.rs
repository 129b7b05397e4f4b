//! The packed layout: the same bytes with eight rows interleaved, so that
//! kernels read eight rows as one stream, each in its own 32-bit lane, without
//! moving anything across lanes.
//!
//! A matrix is divided into groups of eight rows. A group stores block after block
//! along the columns; for each, the blocks of its eight rows are interleaved field by
//! field: a field of `n`-byte numbers (`n` = 1, 2 or 4, see [`DType::fields`]) is
//! stored as number 0 of all eight rows, then number 1 of all eight, and so on. So a
//! field that begins at byte `at` of a row begins at byte `8 * at` of its group, for
//! any format, and a group takes as many bytes as its rows. The last rows, fewer than
//! eight, follow unchanged.
//!
//! Packing only permutes bytes. Every ISA reads the same packed copy, and its results
//! are those of the original bit for bit.

use alloc::string::String;

use super::{DType, Error, dequantize};

/// Rows that are interleaved.
pub const GROUP: usize = 8;

/// The version of the packed layout, part of a packed tensor's type number.
pub const VERSION: u32 = 1;

/// `ON` in the upper half of a type number marks a packed tensor.
const MARK: u32 = 0x4F4E;

/// How the rows of a matrix are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// One row after another, as in every ordinary GGUF file.
    #[default]
    Rows,
    /// Groups of eight rows interleaved: see [`self`](crate::quant::packed).
    Packed,
}

/// Why a type number is not a type and layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadNumber {
    /// The name, or the number, of a type that is not supported.
    Type(String),
    /// A packed tensor of another version.
    Version(u32),
}

impl Layout {
    /// The type number for `dtype` in this layout: GGUF's number for rows; for packed,
    /// `ON` in the upper 16 bits, then 8 bits of [`VERSION`], then 8 bits of GGUF's
    /// number.
    pub fn to_gguf(self, dtype: DType) -> u32 {
        match self {
            Layout::Rows => dtype as u32,
            Layout::Packed => MARK << 16 | VERSION << 8 | dtype as u32,
        }
    }

    /// The type and layout of a number.
    pub(crate) fn from_gguf(number: u32) -> Result<(DType, Layout), BadNumber> {
        if number >> 16 != MARK {
            let dtype = DType::from_gguf(number).map_err(BadNumber::Type)?;
            return Ok((dtype, Layout::Rows));
        }
        let version = number >> 8 & 0xff;
        if version != VERSION {
            return Err(BadNumber::Version(version));
        }
        let dtype = DType::from_gguf(number & 0xff).map_err(BadNumber::Type)?;
        if !can_pack(dtype) {
            return Err(BadNumber::Type(alloc::format!("packed {dtype}")));
        }
        Ok((dtype, Layout::Packed))
    }
}

/// Whether matrices of this type can be packed: true for block formats, false for plain
/// floats, which would not be faster.
pub fn can_pack(dtype: DType) -> bool {
    !dtype.fields().is_empty()
}

/// Packs whole rows of `cols` elements from `rows` to `packed`, which has the same
/// length in bytes.
///
/// # Errors
/// [`Error::SizeMismatch`] if the two differ in length or do not hold whole rows, or if
/// the type can't be packed.
pub fn pack(dtype: DType, cols: usize, rows: &[u8], packed: &mut [u8]) -> Result<(), Error> {
    let row_bytes = checked_row_bytes(dtype, cols, rows.len(), packed.len())?;
    let groups = rows.chunks(GROUP * row_bytes);
    for (rows, packed) in groups.zip(packed.chunks_mut(GROUP * row_bytes)) {
        if rows.len() < GROUP * row_bytes {
            packed.copy_from_slice(rows);
            continue;
        }
        for_each_number(dtype, row_bytes, |at, width| {
            for lane in 0..GROUP {
                let from = lane * row_bytes + at;
                let to = place(at, width, lane);
                packed[to..to + width].copy_from_slice(&rows[from..from + width]);
            }
        });
    }
    Ok(())
}

/// Unpacks whole rows of `cols` elements: the inverse of [`pack`].
///
/// # Errors
/// As for [`pack`].
pub fn unpack(dtype: DType, cols: usize, packed: &[u8], rows: &mut [u8]) -> Result<(), Error> {
    let row_bytes = checked_row_bytes(dtype, cols, packed.len(), rows.len())?;
    for (row, out) in rows.chunks_mut(row_bytes).enumerate() {
        row_of(dtype, row_bytes, packed, row, out);
    }
    Ok(())
}

/// Dequantizes one row of a matrix in either layout to `dst`, which has one float for
/// each column; `data` is the whole matrix. Nothing is allocated.
///
/// # Errors
/// [`Error::SizeMismatch`] if `data` has no such row, or the columns are not whole blocks.
pub fn dequantize_row(
    dtype: DType,
    layout: Layout,
    data: &[u8],
    row: usize,
    dst: &mut [f32],
) -> Result<(), Error> {
    let mismatch = Error::SizeMismatch {
        dtype,
        elements: dst.len(),
        bytes: data.len(),
    };
    let row_bytes = dtype.row_bytes(dst.len()).filter(|&bytes| bytes > 0);
    let row_bytes = row_bytes.ok_or(mismatch.clone())?;
    let rows = data.len() / row_bytes;
    if row >= rows {
        return Err(mismatch);
    }
    if layout == Layout::Rows || row >= rows - rows % GROUP {
        return dequantize(dtype, &data[row * row_bytes..(row + 1) * row_bytes], dst);
    }
    let (len, bytes) = (dtype.block_len(), dtype.block_bytes());
    let group = &data[row / GROUP * GROUP * row_bytes..];
    let mut block = [0; MAX_BLOCK_BYTES];
    for (out, group) in dst.chunks_mut(len).zip(group.chunks(GROUP * bytes)) {
        gather(dtype, group, row % GROUP, &mut block[..bytes]);
        dequantize(dtype, &block[..bytes], out)?;
    }
    Ok(())
}

/// Bytes of the largest block of a format that can be packed.
pub const MAX_BLOCK_BYTES: usize = 210;

/// Copies one row of interleaved blocks to `row`: `group` holds eight times `row.len()`
/// bytes, whole blocks of eight rows, and `lane` is the number of the row among the eight.
///
/// # Panics
/// If the lengths do not match, or `lane` is 8 or more.
pub fn gather(dtype: DType, group: &[u8], lane: usize, row: &mut [u8]) {
    assert!(lane < GROUP && group.len() == GROUP * row.len());
    for_each_number(dtype, row.len(), |at, width| {
        let from = place(at, width, lane);
        row[at..at + width].copy_from_slice(&group[from..from + width]);
    });
}

/// Copies a row of the packed matrix `packed` to `out`.
fn row_of(dtype: DType, row_bytes: usize, packed: &[u8], row: usize, out: &mut [u8]) {
    let rows = packed.len() / row_bytes;
    if row >= rows - rows % GROUP {
        out.copy_from_slice(&packed[row * row_bytes..(row + 1) * row_bytes]);
        return;
    }
    let group = &packed[row / GROUP * GROUP * row_bytes..][..GROUP * row_bytes];
    gather(dtype, group, row % GROUP, out);
}

/// The byte offset in a group of the number that begins at byte `at` of the row `lane`.
fn place(at: usize, width: usize, lane: usize) -> usize {
    GROUP * at + lane * width
}

/// Calls `each` with the byte offset and the width in bytes of every number of a row.
fn for_each_number(dtype: DType, row_bytes: usize, mut each: impl FnMut(usize, usize)) {
    for block in (0..row_bytes).step_by(dtype.block_bytes()) {
        let mut at = block;
        for &(width, count) in dtype.fields() {
            for _ in 0..count {
                each(at, width);
                at += width;
            }
        }
    }
}

fn checked_row_bytes(
    dtype: DType,
    cols: usize,
    rows: usize,
    packed: usize,
) -> Result<usize, Error> {
    let row_bytes = dtype.row_bytes(cols).filter(|&bytes| bytes > 0);
    row_bytes
        .filter(|row| can_pack(dtype) && rows == packed && rows.is_multiple_of(*row))
        .ok_or(Error::SizeMismatch {
            dtype,
            elements: cols,
            bytes: rows,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn packable() -> impl Iterator<Item = DType> {
        DType::all().filter(|&dtype| can_pack(dtype))
    }

    #[test]
    fn fields_fill_each_block() {
        for dtype in packable() {
            let bytes: usize = dtype.fields().iter().map(|(width, n)| width * n).sum();
            assert_eq!(bytes, dtype.block_bytes(), "{dtype}");
            assert!(bytes <= MAX_BLOCK_BYTES);
        }
        assert_eq!(packable().count(), 13);
    }

    #[test]
    fn what_begins_at_a_byte_lies_at_eight_times_it() {
        // Q4_0: an f16, then 16 bytes of codes, as four words.
        let rows: Vec<u8> = (0..8 * 18).collect();
        let mut packed = vec![0; rows.len()];
        pack(DType::Q4_0, 32, &rows, &mut packed).unwrap();
        let scales: Vec<u8> = (0..8).flat_map(|r| [18 * r, 18 * r + 1]).collect();
        assert_eq!(packed[..16], scales);
        let words: Vec<u8> = (0..8)
            .flat_map(|r| (2..6).map(move |b| 18 * r + b))
            .collect();
        assert_eq!(packed[16..48], words);
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(rows in 1usize..20, blocks in 1usize..4, seed in any::<u8>()) {
            for dtype in packable() {
                let cols = blocks * dtype.block_len();
                let row_bytes = dtype.row_bytes(cols).unwrap();
                let bytes: Vec<u8> = (0..rows * row_bytes)
                    .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed)
                    .collect();
                let (mut packed, mut back) = (vec![0; bytes.len()], vec![0; bytes.len()]);
                pack(dtype, cols, &bytes, &mut packed).unwrap();
                unpack(dtype, cols, &packed, &mut back).unwrap();
                prop_assert_eq!(&back, &bytes);
                for row in 0..rows {
                    let (mut a, mut b) = (vec![0.0; cols], vec![0.0; cols]);
                    dequantize_row(dtype, Layout::Rows, &bytes, row, &mut a).unwrap();
                    dequantize_row(dtype, Layout::Packed, &packed, row, &mut b).unwrap();
                    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    prop_assert_eq!(bits(&a), bits(&b));
                }
            }
        }
    }

    #[test]
    fn bad_sizes_are_refused() {
        let mut out = vec![0; 18];
        assert!(pack(DType::Q4_0, 32, &[0; 17], &mut out[..17]).is_err());
        assert!(pack(DType::Q4_0, 32, &[0; 36], &mut out).is_err());
        assert!(pack(DType::F16, 9, &[0; 18], &mut out).is_err());
        assert!(pack(DType::Q4_0, 0, &[], &mut []).is_err());
        let mut floats = vec![0.0; 32];
        assert!(dequantize_row(DType::Q4_0, Layout::Packed, &[0; 18 * 8], 8, &mut floats).is_err());
        assert!(dequantize_row(DType::Q4_0, Layout::Packed, &[0; 17], 0, &mut floats).is_err());
    }

    #[test]
    fn numbers_name_type_layout_and_version() {
        for dtype in DType::all() {
            assert_eq!(
                Layout::from_gguf(Layout::Rows.to_gguf(dtype)),
                Ok((dtype, Layout::Rows))
            );
        }
        for dtype in packable() {
            let number = Layout::Packed.to_gguf(dtype);
            assert_eq!(Layout::from_gguf(number), Ok((dtype, Layout::Packed)));
            assert_eq!(
                Layout::from_gguf(number + 0x100),
                Err(BadNumber::Version(VERSION + 1))
            );
        }
        let number = Layout::Packed.to_gguf(DType::F16);
        assert_eq!(
            Layout::from_gguf(number),
            Err(BadNumber::Type("packed F16".into()))
        );
    }
}

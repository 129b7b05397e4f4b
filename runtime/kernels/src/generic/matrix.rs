//! What a matmul reads and writes: a weight matrix, prepared activations, and
//! a window of the output that one thread owns.

use super::acts::ActKind;
use core::ops::Range;
use ondol_models::quant::packed::{self, GROUP};
use ondol_models::quant::{DType, Layout};

/// A weight matrix as the file has it: `rows` rows of `cols` elements. The
/// shape is known to fit the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    dtype: DType,
    layout: Layout,
    rows: usize,
    cols: usize,
    row_bytes: usize,
    data: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// A view of `data`; `None` unless it is exactly `rows` rows of `cols`
    /// elements (one at least), in whole blocks.
    pub fn new(
        dtype: DType,
        layout: Layout,
        rows: usize,
        cols: usize,
        data: &'a [u8],
    ) -> Option<Matrix<'a>> {
        let row_bytes = dtype.row_bytes(cols).filter(|&bytes| bytes > 0)?;
        (rows.checked_mul(row_bytes)? == data.len()).then_some(Matrix {
            dtype,
            layout,
            rows,
            cols,
            row_bytes,
            data,
        })
    }

    /// How the elements are stored.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How the rows lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Number of rows: the outputs of a matmul.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: the inputs of a matmul.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The number of rows that are interleaved, in whole groups: all but the last seven
    /// at most. The rows after them lie one after another.
    pub(crate) fn packed_rows(&self) -> usize {
        match self.layout {
            Layout::Rows => 0,
            Layout::Packed => self.rows - self.rows % GROUP,
        }
    }

    /// The given bytes of one row, whole blocks, gathered in `buffer` where the
    /// row is interleaved with others.
    pub(crate) fn row_part<'b>(
        &self,
        row: usize,
        bytes: Range<usize>,
        buffer: &'b mut [u8],
    ) -> &'b [u8]
    where
        'a: 'b,
    {
        if row >= self.packed_rows() {
            return &self.row_data(row, 1)[bytes];
        }
        let group = self.row_data(row / GROUP * GROUP, GROUP);
        let part = &mut buffer[..bytes.len()];
        let group = &group[GROUP * bytes.start..GROUP * bytes.end];
        packed::gather(self.dtype, group, row % GROUP, part);
        part
    }

    /// The bytes of `count` rows from row `first` on, in whole groups where
    /// they are interleaved.
    pub(crate) fn row_data(&self, first: usize, count: usize) -> &'a [u8] {
        &self.data[first * self.row_bytes..(first + count) * self.row_bytes]
    }
}

/// Prepared activations: `tokens` rows, each [`ActKind::bytes`] long, made by
/// [`Kernels::prepare`](crate::Kernels::prepare).
#[derive(Debug, Clone, Copy)]
pub struct Acts<'a> {
    kind: ActKind,
    tokens: usize,
    row_bytes: usize,
    data: &'a [u8],
}

impl<'a> Acts<'a> {
    /// Alignment that prepared activations need, in bytes.
    pub const ALIGN: usize = 64;

    /// A view of the first `tokens` prepared rows of `cols` elements in `data`.
    ///
    /// # Panics
    /// If `data` is too short or not aligned to [`Acts::ALIGN`]. The planner prevents
    /// both, and no file can cause them.
    pub fn new(kind: ActKind, tokens: usize, cols: usize, data: &'a [u8]) -> Acts<'a> {
        let row_bytes = kind.bytes(cols);
        assert!(
            data.as_ptr().addr().is_multiple_of(Acts::ALIGN),
            "activations are not aligned"
        );
        Acts {
            kind,
            tokens,
            row_bytes,
            data: &data[..tokens * row_bytes],
        }
    }

    /// The form of the activations.
    pub fn kind(&self) -> ActKind {
        self.kind
    }

    /// Number of rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Bytes from one token's row to the next.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The prepared row of one token.
    pub(crate) fn row(&self, token: usize) -> &'a [u8] {
        &self.data[token * self.row_bytes..(token + 1) * self.row_bytes]
    }
}

/// What happens to the values that the output holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// They are replaced.
    Set,
    /// They are added to: the residual connection, fused.
    Add,
}

/// The output of a matmul, which several threads fill at once, each its own rows.
///
/// Element (token `t`, row `r`) lies at `t * stride + r`.
#[derive(Debug, Clone, Copy)]
pub struct OutRows {
    base: *mut f32,
    stride: usize,
    store: Store,
}

impl OutRows {
    /// An output whose first element is at `base`.
    ///
    /// # Safety
    /// While this value is used, `base + t * stride + r` must be valid for
    /// reads and writes for every token `t` and every row `r` that is passed
    /// along with it to a matmul, and nobody else may touch those elements.
    /// With [`Store::Add`] they must be initialized.
    pub unsafe fn new(base: *mut f32, stride: usize, store: Store) -> OutRows {
        OutRows {
            base,
            stride,
            store,
        }
    }

    /// The same output for the products of some columns: those of all but
    /// the first columns are added to what it holds.
    pub(crate) fn of_columns(self, first_column: usize) -> OutRows {
        let store = match first_column {
            0 => self.store,
            _ => Store::Add,
        };
        OutRows { store, ..self }
    }

    /// Stores the values of as many consecutive rows as there are lanes.
    #[inline(always)]
    pub(crate) fn put_whole<const N: usize>(&self, token: usize, row: usize, values: &[f32; N]) {
        // SAFETY: as in `put`; the access is unaligned.
        unsafe {
            let at = self.base.add(token * self.stride + row).cast::<[f32; N]>();
            let mut sums = *values;
            if self.store == Store::Add {
                let before = at.read_unaligned();
                for (sum, before) in sums.iter_mut().zip(before) {
                    *sum += before;
                }
            }
            at.write_unaligned(sums);
        }
    }

    /// Stores the values of consecutive rows, from `row` on, of one token.
    #[inline(always)]
    pub(crate) fn put(&self, token: usize, row: usize, values: &[f32]) {
        for (i, &value) in values.iter().enumerate() {
            // SAFETY: `new` promises that the elements of the matmul's rows
            // and tokens, the only ones the kernels put, are ours to write.
            unsafe {
                let at = self.base.add(token * self.stride + row + i);
                *at = match self.store {
                    Store::Set => value,
                    Store::Add => *at + value,
                };
            }
        }
    }
}

/// What an ISA multiplies: rows of weights, with the activations of all tokens.
pub(crate) struct Call<'a> {
    pub w: &'a Matrix<'a>,
    pub rows: Range<usize>,
    pub acts: &'a Acts<'a>,
    pub out: &'a OutRows,
    pub scratch: &'a mut [u8],
}

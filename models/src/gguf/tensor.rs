//! One entry of the tensor directory.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::quant::{DType, Layout};
use crate::{Error, Result};

/// The most dimensions that a tensor may have, as in the specification.
pub(super) const MAX_RANK: usize = 4;

/// A tensor: what it is called, how it is stored, and its bytes.
#[derive(Clone, Copy, PartialEq)]
pub struct TensorInfo<'a> {
    /// The name, unique in the model.
    pub name: &'a str,
    /// How elements are stored.
    pub dtype: DType,
    /// The layout of its rows.
    pub layout: Layout,
    /// The shard that holds the data, from 0.
    pub shard: u32,
    /// Where the data begins, in bytes from the start of its shard.
    pub offset: u64,
    /// The data: [`TensorInfo::rows`] rows of [`DType::row_bytes`] bytes each,
    /// as [`TensorInfo::layout`] says.
    pub data: &'a [u8],
    pub(super) shape: Shape,
}

impl TensorInfo<'_> {
    /// The dimensions as in the file: 1 to 4 of them, none zero; elements along the
    /// first are contiguous.
    pub fn dims(&self) -> &[u64] {
        self.shape.dims()
    }

    /// Elements in a row: the first dimension, a multiple of [`DType::block_len`].
    pub fn cols(&self) -> usize {
        self.shape.cols
    }

    /// Number of rows: the product of all other dimensions.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Number of elements: rows times columns.
    pub fn elements(&self) -> usize {
        self.shape.cols * self.shape.rows
    }
}

impl fmt::Debug for TensorInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TensorInfo {
            name,
            dtype,
            shard,
            offset,
            data,
            ..
        } = self;
        let (dims, len) = (self.dims(), data.len());
        write!(
            f,
            "{name}: {dtype} {dims:?}, {len} bytes at {offset} of shard {shard}"
        )
    }
}

/// Dimensions that were checked: the rank, no zeros, no overflow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    dims: [u64; MAX_RANK],
    rank: usize,
    cols: usize,
    rows: usize,
}

impl Shape {
    /// Checks the dimensions of the tensor `name`.
    ///
    /// # Errors
    /// [`Error::BadShape`].
    pub(super) fn new(name: &str, dims: &[u64]) -> Result<Shape> {
        let bad = |reason: String| Error::BadShape {
            name: name.into(),
            reason,
        };
        let rank = dims.len();
        if rank == 0 || rank > MAX_RANK {
            return Err(bad(format!(
                "it has {rank} dimensions, expected 1 to {MAX_RANK}"
            )));
        }
        if dims.contains(&0) {
            return Err(bad(format!("a dimension of {dims:?} is zero")));
        }
        let mut all = [1; MAX_RANK];
        all.iter_mut().zip(dims).for_each(|(to, from)| *to = *from);
        let sizes = (|| {
            let [cols, rest @ ..] = all.map(|d| usize::try_from(d).ok());
            let (cols, mut rows) = (cols?, 1usize);
            for dim in rest {
                rows = rows.checked_mul(dim?)?;
            }
            cols.checked_mul(rows)?;
            Some((cols, rows))
        })();
        let (cols, rows) = sizes.ok_or_else(|| bad(format!("{dims:?} overflows")))?;
        Ok(Shape {
            dims: all,
            rank,
            cols,
            rows,
        })
    }

    pub(super) fn dims(&self) -> &[u64] {
        self.dims.get(..self.rank).unwrap_or_default()
    }

    /// Bytes of the tensor `name` of this shape.
    ///
    /// # Errors
    /// [`Error::BadShape`] where rows end inside a block, or the size overflows.
    pub(super) fn byte_len(&self, name: &str, dtype: DType) -> Result<usize> {
        let (cols, block) = (self.cols, dtype.block_len());
        if !cols.is_multiple_of(block) {
            return Err(Error::BadShape {
                name: name.into(),
                reason: format!(
                    "{cols} columns are not a multiple of {block}, the block of {dtype}"
                ),
            });
        }
        let bytes = dtype
            .row_bytes(cols)
            .and_then(|row| row.checked_mul(self.rows));
        bytes.ok_or_else(|| Error::BadShape {
            name: name.into(),
            reason: format!("the bytes of {:?} {dtype} overflow", self.dims()),
        })
    }
}

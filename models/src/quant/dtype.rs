//! The table of block layouts.

use alloc::string::String;

/// How a tensor's elements are stored.
///
/// The numbers are those of the GGUF specification
/// (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, `ggml_type`).
#[allow(non_camel_case_types)]
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum DType {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    IQ4_NL = 20,
    IQ4_XS = 23,
    BF16 = 30,
    MXFP4 = 39,
}

/// Families of formats, which a build has or leaves out as a whole. Plain floats are in
/// every build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
    Legacy,
    /// Q2_K to Q6_K.
    K,
    /// IQ4_NL, IQ4_XS, MXFP4.
    Codebook,
}

impl Family {
    /// Whether this build has the family. A constant: code behind a `false` is not
    /// compiled in.
    #[inline(always)]
    pub const fn in_build(self) -> bool {
        match self {
            Family::Legacy => cfg!(feature = "formats-legacy"),
            Family::K => cfg!(feature = "formats-k"),
            Family::Codebook => cfg!(feature = "formats-codebook"),
        }
    }
}

struct BlockLayout {
    dtype: DType,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
    /// Width in bytes and count of the numbers that make up a block, in order.
    fields: &'static [(usize, usize)],
}

const LAYOUTS: [BlockLayout; 16] = {
    const fn row(
        dtype: DType,
        name: &'static str,
        block_len: usize,
        block_bytes: usize,
        fields: &'static [(usize, usize)],
    ) -> BlockLayout {
        BlockLayout {
            dtype,
            name,
            block_len,
            block_bytes,
            fields,
        }
    }
    [
        row(DType::F32, "F32", 1, 4, &[]),
        row(DType::F16, "F16", 1, 2, &[]),
        row(DType::BF16, "BF16", 1, 2, &[]),
        row(DType::Q4_0, "Q4_0", 32, 18, &[(2, 1), (4, 4)]),
        row(DType::Q4_1, "Q4_1", 32, 20, &[(4, 5)]),
        row(DType::Q5_0, "Q5_0", 32, 22, &[(2, 1), (4, 5)]),
        row(DType::Q5_1, "Q5_1", 32, 24, &[(4, 6)]),
        row(DType::Q8_0, "Q8_0", 32, 34, &[(2, 1), (4, 8)]),
        row(DType::Q2_K, "Q2_K", 256, 84, &[(4, 21)]),
        row(DType::Q3_K, "Q3_K", 256, 110, &[(4, 27), (2, 1)]),
        row(DType::Q4_K, "Q4_K", 256, 144, &[(4, 36)]),
        row(DType::Q5_K, "Q5_K", 256, 176, &[(4, 44)]),
        row(DType::Q6_K, "Q6_K", 256, 210, &[(4, 52), (2, 1)]),
        row(DType::IQ4_NL, "IQ4_NL", 32, 18, &[(2, 1), (4, 4)]),
        row(DType::IQ4_XS, "IQ4_XS", 256, 136, &[(4, 34)]),
        row(DType::MXFP4, "MXFP4", 32, 17, &[(1, 1), (4, 4)]),
    ]
};

/// Types of the specification that are not supported here, by name.
const KNOWN_UNSUPPORTED: &[(u32, &str)] = &[
    (4, "Q4_2"),
    (5, "Q4_3"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
    (40, "NVFP4"),
];

impl DType {
    /// Every supported type, in the order of the table.
    pub fn all() -> impl Iterator<Item = DType> {
        LAYOUTS.iter().map(|l| l.dtype)
    }

    /// The type with this GGUF number.
    ///
    /// # Errors
    /// The name or number of a type that is not supported.
    pub fn from_gguf(number: u32) -> Result<DType, String> {
        let layout = LAYOUTS.iter().find(|l| l.dtype as u32 == number);
        if let Some(layout) = layout.filter(|l| l.dtype.in_build()) {
            return Ok(layout.dtype);
        }
        let known = KNOWN_UNSUPPORTED.iter().find(|(n, _)| *n == number);
        let name = layout.map(|l| l.name).or(known.map(|(_, name)| *name));
        Err(name.map_or_else(|| alloc::format!("number {number}"), Into::into))
    }

    /// Whether this build has the type.
    fn in_build(self) -> bool {
        match self {
            DType::F32 | DType::F16 | DType::BF16 => true,
            DType::Q4_0 | DType::Q4_1 | DType::Q5_0 | DType::Q5_1 | DType::Q8_0 => {
                Family::Legacy.in_build()
            }
            DType::Q2_K | DType::Q3_K | DType::Q4_K | DType::Q5_K | DType::Q6_K => {
                Family::K.in_build()
            }
            DType::IQ4_NL | DType::IQ4_XS | DType::MXFP4 => Family::Codebook.in_build(),
        }
    }

    /// The type of this name, in any case ("q4_k" is `Q4_K`).
    pub fn from_name(name: &str) -> Option<DType> {
        LAYOUTS
            .iter()
            .find(|l| l.name.eq_ignore_ascii_case(name))
            .map(|l| l.dtype)
    }

    fn layout(self) -> &'static BlockLayout {
        // The table has a row for every variant.
        LAYOUTS
            .iter()
            .find(|l| l.dtype == self)
            .unwrap_or(&LAYOUTS[0])
    }

    /// The name in the specification.
    pub fn name(self) -> &'static str {
        self.layout().name
    }

    /// Elements in one block; 1 for plain floats.
    pub fn block_len(self) -> usize {
        self.layout().block_len
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.layout().block_bytes
    }

    /// Width in bytes and count of the numbers of a block, in order, as the packed
    /// layout interleaves them ([`super::packed`]): an f16 that stands alone has width 2, a
    /// single byte has width 1, and all other bytes are words of 4. Empty for plain floats.
    pub fn fields(self) -> &'static [(usize, usize)] {
        self.layout().fields
    }

    /// Bytes of a row of `cols` elements; `None` where `cols` is no multiple of
    /// the block length, or the product overflows.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        let BlockLayout {
            block_len,
            block_bytes,
            ..
        } = *self.layout();
        if !cols.is_multiple_of(block_len) {
            return None;
        }
        (cols / block_len).checked_mul(block_bytes)
    }
}

impl core::fmt::Display for DType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_finds_its_own_row() {
        for dtype in DType::all() {
            assert_eq!(DType::from_gguf(dtype as u32), Ok(dtype));
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
            assert_eq!(dtype.layout().dtype, dtype);
        }
        assert_eq!(DType::from_gguf(16), Err("IQ2_XXS".into()));
        assert_eq!(DType::from_gguf(999), Err("number 999".into()));
    }

    #[test]
    fn row_bytes_refuses_part_blocks_and_overflow() {
        assert_eq!(DType::Q4_K.row_bytes(512), Some(288));
        assert_eq!(DType::Q4_K.row_bytes(576), None);
        assert_eq!(DType::F32.row_bytes(usize::MAX / 2), None);
    }
}

//! How keys and values are kept.

use crate::{Error, Result};
use half::f16;
use ondol_kernels::SMALL;
use ondol_kernels::attention::Cell;
use ondol_kernels::vector::Q8Block;

/// How a session keeps keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvType {
    /// Half floats: 2 bytes a number.
    #[default]
    F16,
    /// 8 bits, with a scale for each 32 numbers of a head: 34 bytes for 32. For
    /// models whose heads are made of whole blocks.
    Q8_0,
    /// Floats: 4 bytes a number, and nothing is rounded. For comparisons.
    F32,
}

/// The types that options can name: firmware has no cache of floats.
const KNOWN: &[KvType] = KvType::ALL.split_at(if SMALL { 2 } else { 3 }).0;

impl KvType {
    /// Every type.
    pub const ALL: [KvType; 3] = [KvType::F16, KvType::Q8_0, KvType::F32];

    /// The name that options take: `f16`, `q8_0`, `f32`.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
            KvType::F32 => "f32",
        }
    }

    /// The type of this name.
    pub fn from_name(name: &str) -> Option<KvType> {
        KNOWN.iter().copied().find(|ty| ty.name() == name)
    }

    /// Whether this build has the type. A constant of the build, so the compiler drops
    /// the code for types that it lacks.
    #[inline(always)]
    pub const fn in_build(self) -> bool {
        match self {
            KvType::F16 => true,
            KvType::Q8_0 => Q8Block::IN_BUILD,
            KvType::F32 => !SMALL,
        }
    }

    /// Numbers of a cell; a head is made of whole cells.
    pub fn cell_len(self) -> usize {
        match self {
            KvType::F16 | KvType::F32 => f16::LEN,
            KvType::Q8_0 => Q8Block::LEN,
        }
    }

    /// Bytes of `numbers` numbers, which make whole cells. The product saturates, so that
    /// the plan can refuse it.
    pub fn bytes(self, numbers: usize) -> usize {
        let cell = match self {
            KvType::Q8_0 => size_of::<Q8Block>(),
            KvType::F32 if !SMALL => size_of::<f32>(),
            KvType::F16 | KvType::F32 => size_of::<f16>(),
        };
        (numbers / self.cell_len()).saturating_mul(cell)
    }
}

impl core::str::FromStr for KvType {
    type Err = Error;

    fn from_str(name: &str) -> Result<KvType> {
        KvType::from_name(name).ok_or_else(|| Error::UnknownKvType(name.into()))
    }
}

impl core::fmt::Display for KvType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

//! The arithmetic. Everything above it says what to compute; only this folder
//! knows how the CPU does it.
//!
//! # Names
//! A kernel's name says, in this order, what it does, on which weights, with
//! which activations, in which shape, and its folder says for which ISA:
//!
//! | part | words |
//! | --- | --- |
//! | what | `gemv` (weights times one token), `gemm` (times many), `prepare` (activations) |
//! | weights | a format's own name (`Q4_K`), or the panel type that it unpacks to: `Whole<DEPTH>`, `Halves<DEPTH>`, `Bytes`, `Wide` |
//! | activations | a block type: `I8Block`, `SplitBlock`, `I16Block`; or plain floats |
//! | shape | `P` panels of eight rows, `T` tokens |
//! | ISA | the folder: `scalar`, `x86/avx2`, `x86/avx512`, `aarch64` |
//!
//! # Levels
//! [`Level::Exact`] dequantizes the weights and computes in f32. The others
//! multiply integers, [`Level::Scalar`] in plain Rust and the rest by SIMD, and
//! are equal bit for bit where the activations are integers (see [`ActKind`]).
//! f32 products (plain float weights, and the exact level) differ between
//! levels by their rounding, within a few units in the last place of the sum
//! of magnitudes.
//!
//! At any level an output element depends on its row of weights and its row of
//! prepared activations alone: not on the range of rows of a call, the number
//! of tokens, or the number of threads.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod acts;
mod array;
pub mod attention;
mod floats;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod integer;
mod matrix;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod portable;
mod prefetch;
mod scalar;
#[cfg(test)]
mod tests;
pub mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use acts::ActKind;
use matrix::Call;
pub use matrix::{Acts, Matrix, OutRows, Store};

use crate::{Error, Result};
#[cfg(target_arch = "aarch64")]
use aarch64::Isa;
use attention::Attention;
use core::ops::Range;
use ondol_models::quant::DType;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use portable::Isa;
use vector::VectorOps;
#[cfg(target_arch = "x86_64")]
use x86::Isa;

/// Most tokens whose activations keep 16 bits with low-bit weights. So few
/// rows are bound by memory, and the finer activations cost nothing; with
/// speculation, checking a handful of tokens must equal decoding them one by one.
pub const FINE_TOKENS: usize = 32;

/// How the arithmetic is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Dequantized weights and f32 activations.
    Exact,
    /// Integers in plain Rust.
    Scalar,
    /// Integers by AVX2 and FMA.
    Avx2,
    /// The same with the dot products of AVX-VNNI.
    AvxVnni,
    /// Integers by AVX-512 (F, BW, VL) with the dot products of its VNNI.
    Avx512,
    /// Integers by NEON, on any 64-bit Arm.
    Neon,
    /// The same with the dot products of Armv8.2 (`sdot`).
    DotProd,
    /// The same with the matrix products of Armv8.6 (`smmla`) as well.
    I8mm,
}

impl Level {
    /// Every level, lowest first.
    pub const ALL: [Level; 8] = [
        Level::Exact,
        Level::Scalar,
        Level::Avx2,
        Level::AvxVnni,
        Level::Avx512,
        Level::Neon,
        Level::DotProd,
        Level::I8mm,
    ];

    /// The name that `ONDOL_KERNELS` takes.
    pub fn name(self) -> &'static str {
        match self {
            Level::Exact => "exact",
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::AvxVnni => "avx-vnni",
            Level::Avx512 => "avx512",
            Level::Neon => "neon",
            Level::DotProd => "dotprod",
            Level::I8mm => "i8mm",
        }
    }

    /// The level of this name.
    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl core::str::FromStr for Level {
    type Err = Error;

    fn from_str(name: &str) -> Result<Level> {
        Level::from_name(name).ok_or_else(|| Error::UnknownLevel(name.into()))
    }
}

impl core::fmt::Display for Level {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// The kernels of one level: a value that exists only if the CPU can run them.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    level: Level,
    /// What runs in place of plain Rust.
    isa: Option<Isa>,
}

impl Kernels {
    /// The fastest kernels that this CPU can run.
    pub fn detect() -> Kernels {
        let levels = Level::ALL.into_iter().rev();
        let mut able = levels.filter_map(|level| Kernels::with_level(level).ok());
        // The scalar level runs anywhere.
        able.next().unwrap_or(Kernels {
            level: Level::Scalar,
            isa: None,
        })
    }

    /// The level that the environment variable `ONDOL_KERNELS` names, or else
    /// the fastest.
    #[cfg(feature = "std")]
    pub fn from_env() -> Result<Kernels> {
        let Some(name) = std::env::var_os("ONDOL_KERNELS") else {
            return Ok(Kernels::detect());
        };
        let name = name.to_string_lossy();
        Kernels::with_level(name.parse()?)
    }

    /// The kernels of a level.
    pub fn with_level(level: Level) -> Result<Kernels> {
        let isa = match level {
            Level::Scalar => None,
            Level::Exact => Level::ALL.into_iter().find_map(Isa::of),
            level => Some(Isa::of(level).ok_or(Error::UnsupportedLevel(level))?),
        };
        Ok(Kernels { level, isa })
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Functions on rows of floats.
    pub fn vector(&self) -> &dyn VectorOps {
        match &self.isa {
            Some(isa) => isa.vector(),
            None => &vector::Scalar,
        }
    }

    /// Attention over a KV cache.
    pub fn attention(&self) -> &dyn Attention {
        match &self.isa {
            Some(isa) if self.level == Level::Exact => isa.exact_attention(),
            Some(isa) => isa.attention(),
            None => &vector::Scalar,
        }
    }

    /// The form of activations for a matmul of `tokens` tokens with weights of
    /// this type.
    pub fn act_kind(&self, dtype: DType, tokens: usize) -> ActKind {
        if self.level == Level::Exact {
            return ActKind::F32;
        }
        let kinds = match tokens > FINE_TOKENS {
            true => &[ActKind::I8Rounded, ActKind::I8, ActKind::I14, ActKind::I16][..],
            false => &[ActKind::I16Split, ActKind::I16],
        };
        let mut able = kinds
            .iter()
            .copied()
            .filter(|&kind| kind.fits(dtype) && self.gains_by(kind, dtype));
        able.next().unwrap_or(ActKind::F32)
    }

    /// Whether this form of activations is the level's own for such weights, and faster
    /// than the finer ones that fit.
    fn gains_by(&self, kind: ActKind, dtype: DType) -> bool {
        let byte_dots = self.isa.is_some_and(|isa| isa.has_byte_dots());
        match kind {
            ActKind::I8 | ActKind::I16Split if acts::has_signed_bytes(dtype) => byte_dots,
            ActKind::I8 if acts::has_super_blocks(dtype) => !byte_dots,
            ActKind::I8Rounded => byte_dots,
            ActKind::I16 => !byte_dots,
            ActKind::I14 => self.isa.is_some_and(|isa| isa.rounds_halves()),
            _ => true,
        }
    }

    /// Whether [`Self::matmul`] takes this form of activations with such weights. Plain
    /// Rust takes all that fit: it is the oracle of the others.
    fn takes(&self, kind: ActKind, dtype: DType) -> bool {
        kind.fits(dtype) && (self.isa.is_none() || self.gains_by(kind, dtype))
    }

    /// Prepares one row of activations.
    ///
    /// A value that is not finite makes every product with its block NaN.
    ///
    /// # Panics
    /// If `dst` is shorter than `kind.bytes(x.len())` or not aligned to 4, or
    /// if the form is one of integers, but not I14, and `x` is not made of
    /// blocks of 32.
    pub fn prepare(&self, kind: ActKind, x: &[f32], dst: &mut [u8]) {
        match &self.isa {
            Some(isa) => isa.prepare(kind, x, dst),
            None => acts::prepare(vector::Scalar, kind, x, dst),
        }
    }

    /// Bytes of scratch that a thread needs for [`Self::matmul`] with rows of
    /// `cols` elements of this type.
    pub fn scratch_bytes(&self, dtype: DType, cols: usize) -> usize {
        match &self.isa {
            Some(isa) if dtype != DType::F32 => {
                floats::SCRATCH_BYTES.max(isa.scratch_bytes(dtype, cols))
            }
            _ => floats::SCRATCH_BYTES,
        }
    }

    /// Computes the given rows of the product of weights and activations, for
    /// all tokens: `out[t][r] = sum over k of w[r][k] * acts[t][k]`.
    ///
    /// Activations of [`ActKind::F32`] go with any weights at any level;
    /// the integer forms are those that [`Self::act_kind`] gives. Ranges that start at
    /// multiples of 16 are fastest. `scratch` needs [`Self::scratch_bytes`],
    /// holds nothing before or after, and is each thread's own.
    ///
    /// # Panics
    /// If rows are out of range, the scratch is too short, or the activations
    /// do not fit the weights: all the planner's to get right.
    pub fn matmul(
        &self,
        w: &Matrix,
        rows: Range<usize>,
        acts: &Acts,
        out: &OutRows,
        scratch: &mut [u8],
    ) {
        assert!(rows.end <= w.rows(), "rows out of range");
        assert!(
            self.takes(acts.kind(), w.dtype()),
            "{:?} with {}",
            acts.kind(),
            w.dtype()
        );
        assert_eq!(
            acts.row_bytes(),
            acts.kind().bytes(w.cols()),
            "activations of another length"
        );
        let call = Call {
            w,
            rows,
            acts,
            out,
            scratch,
        };
        match (&self.isa, acts.kind()) {
            (Some(isa), _) => isa.matmul(call),
            (None, ActKind::F32) => floats::matmul(vector::Scalar, call),
            (None, _) => scalar::matmul(call),
        }
    }
}

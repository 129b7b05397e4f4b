//! AVX2 + FMA. Eight weight rows at a time, one in each 32-bit lane.
//!
//! Arithmetic and formats are apart. A [`Format`] lays a block of 8 rows x 32
//! k before the arithmetic, as [`Block`]; there are four ways to compute with
//! it, the [`panel`] types. `gemv` feeds blocks to the arithmetic as they come,
//! `gemm` keeps the blocks of 16 rows in scratch and sweeps all tokens over
//! them. Both call the same few lines for a block, in the same order, so that
//! their results are equal bit for bit.
//!
//! # Safety
//! The functions marked `unsafe` without further words ask for AVX2, FMA and
//! F16C, and are always inlined into one that has these features enabled. What
//! they ask of pointers is written at [`Rows`].

mod attention;
mod floats;
mod formats_k;
mod formats_legacy;
mod gemm;
mod gemv;
mod panel;
mod rows;
mod vector;

use super::super::acts::{self, ActKind, I8Block, I16Block, SplitBlock};
use super::super::{Acts, Matrix, OutRows};
use core::arch::x86_64::*;
use core::ops::Range;
use formats_k::{IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};
use formats_legacy::{IQ4_NL, MXFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
use gemm::{PANELS, gemm};
use gemv::gemv;
use ondol_models::quant::DType;
use panel::{Packed, Product, Wide};
use rows::Rows;

/// The AVX2 kernels: a value that exists only if the CPU can run them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

/// 8 rows x 32 k of weights: `scale * sub * q + min`.
///
/// A panel type says which of these fields its formats fill; the others are
/// left at zero, and no instruction is spent on them.
#[derive(Clone, Copy)]
struct Block {
    /// Lane `r` of vector `j` holds elements `4j..4j + 4` of row `r`.
    q: [__m256i; 8],
    scale: __m256,
    /// Integer scales of the first and second 16 elements, as pairs of equal i16.
    sub: [__m256i; 2],
    /// One for all 32 elements (the first), or one for each 16.
    min: [__m256; 2],
}

impl Block {
    /// Levels with one scale.
    #[inline(always)]
    unsafe fn new(q: [__m256i; 8], scale: __m256) -> Block {
        // SAFETY: see the module for features.
        unsafe {
            let (sub, min) = ([_mm256_setzero_si256(); 2], [_mm256_setzero_ps(); 2]);
            Block { q, scale, sub, min }
        }
    }

    /// The same with one minimum.
    #[inline(always)]
    fn with_min(mut self, min: __m256) -> Block {
        self.min[0] = min;
        self
    }
}

/// A block format of weights.
trait Format {
    /// What the arithmetic takes of a block.
    type Packed: Packed;

    /// Hands the sink the first `blocks` blocks of the rows, in order.
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S);
}

/// Takes blocks as they are decoded.
trait Sink {
    unsafe fn block(&mut self, block: &Block);
}

impl Avx2 {
    /// The kernels, if this CPU has AVX2, FMA and F16C.
    pub(crate) fn new() -> Option<Avx2> {
        #[cfg(feature = "std")]
        let has = std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("f16c");
        #[cfg(not(feature = "std"))]
        let has = cfg!(all(
            target_feature = "avx2",
            target_feature = "fma",
            target_feature = "f16c"
        ));
        has.then_some(Avx2(()))
    }

    /// [`acts::prepare`], compiled for this level.
    pub(crate) fn prepare(self, kind: ActKind, x: &[f32], dst: &mut [u8]) {
        #[target_feature(enable = "avx2,fma")]
        fn prepare(kind: ActKind, x: &[f32], dst: &mut [u8]) {
            acts::prepare(kind, x, dst);
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { prepare(kind, x, dst) }
    }

    /// Bytes of scratch that [`Self::matmul`] needs for rows of `cols` elements.
    pub(crate) fn scratch_bytes(dtype: DType, cols: usize) -> usize {
        let blocks = cols / acts::BLOCK;
        let panels = PANELS * blocks * panel::max_bytes();
        let bounce = rows::LANES * dtype.row_bytes(cols).unwrap_or(0);
        panels + bounce + Acts::ALIGN
    }

    /// Multiplies the given rows with integer activations of all tokens.
    pub(crate) fn matmul(
        self,
        w: &Matrix,
        rows: Range<usize>,
        acts: &Acts,
        out: &OutRows,
        scratch: &mut [u8],
    ) {
        match w.dtype() {
            DType::Q4_0 => self.low_bit::<Q4_0>(w, rows, acts, out, scratch),
            DType::Q4_1 => self.low_bit::<Q4_1>(w, rows, acts, out, scratch),
            DType::Q5_0 => self.low_bit::<Q5_0>(w, rows, acts, out, scratch),
            DType::Q5_1 => self.low_bit::<Q5_1>(w, rows, acts, out, scratch),
            DType::MXFP4 => self.low_bit::<MXFP4>(w, rows, acts, out, scratch),
            DType::Q2_K => self.low_bit::<Q2_K>(w, rows, acts, out, scratch),
            DType::Q3_K => self.low_bit::<Q3_K>(w, rows, acts, out, scratch),
            DType::Q4_K => self.low_bit::<Q4_K>(w, rows, acts, out, scratch),
            DType::Q5_K => self.low_bit::<Q5_K>(w, rows, acts, out, scratch),
            DType::Q6_K => self.low_bit::<Q6_K>(w, rows, acts, out, scratch),
            DType::Q8_0 => self.wide::<Q8_0>(w, rows, acts, out, scratch),
            DType::IQ4_NL => self.wide::<IQ4_NL>(w, rows, acts, out, scratch),
            DType::IQ4_XS => self.wide::<IQ4_XS>(w, rows, acts, out, scratch),
            DType::F32 | DType::F16 | DType::BF16 => {
                unreachable!("float weights take f32 activations")
            }
        }
    }

    /// Formats whose levels are small enough to multiply in 8 bits.
    fn low_bit<F: Format>(
        self,
        w: &Matrix,
        rows: Range<usize>,
        acts: &Acts,
        out: &OutRows,
        scratch: &mut [u8],
    ) where
        F::Packed: Product<I8Block> + Product<SplitBlock>,
    {
        let one = acts.tokens() == 1;
        // SAFETY: `self` proves that the CPU has the features.
        unsafe {
            match acts.kind() {
                ActKind::I8 => gemm::<F, I8Block>(w, rows, acts, out, scratch),
                ActKind::I16Split if one => gemv::<F, SplitBlock>(w, rows, acts, out, scratch),
                ActKind::I16Split => gemm::<F, SplitBlock>(w, rows, acts, out, scratch),
                kind => unreachable!("{kind:?} with weights of few bits"),
            }
        }
    }

    /// Formats whose levels need 16 bits to multiply.
    fn wide<F: Format<Packed = Wide>>(
        self,
        w: &Matrix,
        rows: Range<usize>,
        acts: &Acts,
        out: &OutRows,
        scratch: &mut [u8],
    ) {
        assert_eq!(
            acts.kind(),
            ActKind::I16,
            "weights of 8 bits take 16-bit activations"
        );
        // SAFETY: `self` proves that the CPU has the features.
        unsafe {
            match acts.tokens() {
                1 => gemv::<F, I16Block>(w, rows, acts, out, scratch),
                _ => gemm::<F, I16Block>(w, rows, acts, out, scratch),
            }
        }
    }
}

/// The eight lanes as numbers.
#[inline(always)]
unsafe fn lanes(v: __m256) -> [f32; 8] {
    let mut lanes = [0.0; 8];
    // SAFETY: the array has room for the vector; see the module for features.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), v) };
    lanes
}

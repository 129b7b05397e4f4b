//! Activations in the forms that the kernels multiply.
//!
//! A row is prepared once and then meets every row of the weights. The integer
//! forms are blocks of 32 values with one scale, so that they line up with the
//! blocks of the weights. All levels run this one source, compiled for each
//! ISA, so that their prepared rows are equal bit for bit.

use super::Acts;
use ondol_models::quant::DType;

/// The form of prepared activations. A prepared row is [`ActKind::bytes`] long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActKind {
    /// The values as they are, padded with zeros to a multiple of 16. A row
    /// whose length is such a multiple is its own prepared form.
    F32,
    /// 8 bits, |q| <= 127: prefill with low-bit weights.
    I8,
    /// 16 bits, |q| <= 32639, as two planes of 8 bits: decode with low-bit weights.
    I16Split,
    /// 16 bits, |q| <= 32639: weights of 8 bits.
    I16,
}

/// Elements of a block.
pub(super) const BLOCK: usize = 32;

/// The largest 16-bit value whose two planes both fit in 8 bits: 127 * 256 + 127.
const I16_MAX: f32 = 32639.0;

/// What a block's integers stand for.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Meta {
    /// The value of one step: NaN where the block held a value that is not finite.
    pub scale: f32,
    /// `scale` times the sum of all 32 integers.
    pub sum: f32,
    /// The same for the first and the second 16.
    pub half_sums: [f32; 2],
}

/// A block of [`ActKind::I8`].
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct I8Block {
    pub q: [i8; BLOCK],
    pub meta: Meta,
}

/// A block of [`ActKind::I16Split`]: q = 256 * high + low.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct SplitBlock {
    pub high: [i8; BLOCK],
    pub low: [i8; BLOCK],
    pub meta: Meta,
}

/// A block of [`ActKind::I16`]. Within each four the order is 0, 2, 1, 3: the
/// order in which four bytes of weights widen to 16 bits in place.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct I16Block {
    pub q: [i16; BLOCK],
    pub meta: Meta,
}

/// Where [`I16Block`] keeps element `i`.
pub(super) const fn widened_place(i: usize) -> usize {
    (i & !3) | [0, 2, 1, 3][i & 3]
}

/// A block as it lies in a prepared row.
pub(super) trait ActBlock: Plain {
    /// Quantizes 32 values.
    fn quantize(x: &[f32; BLOCK]) -> Self;
    fn meta(&self) -> &Meta;
}

impl ActKind {
    /// Every form.
    pub const ALL: [ActKind; 4] = [ActKind::F32, ActKind::I8, ActKind::I16Split, ActKind::I16];

    /// Whether kernels multiply this form with weights of this type.
    pub fn fits(self, dtype: DType) -> bool {
        match dtype {
            _ if self == ActKind::F32 => true,
            DType::F32 | DType::F16 | DType::BF16 => false,
            DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS => self == ActKind::I16,
            _ => self != ActKind::I16,
        }
    }

    /// Bytes of one prepared row of `cols` elements, a multiple of [`Acts::ALIGN`].
    pub fn bytes(self, cols: usize) -> usize {
        let bytes = match self {
            ActKind::F32 => cols * size_of::<f32>(),
            ActKind::I8 => cols.div_ceil(BLOCK) * size_of::<I8Block>(),
            ActKind::I16Split => cols.div_ceil(BLOCK) * size_of::<SplitBlock>(),
            ActKind::I16 => cols.div_ceil(BLOCK) * size_of::<I16Block>(),
        };
        bytes.next_multiple_of(Acts::ALIGN)
    }
}

/// Prepares one row. `dst` holds at least `kind.bytes(x.len())` bytes, aligned
/// to 4; the integer forms ask for whole blocks.
#[inline(always)]
pub(super) fn prepare(kind: ActKind, x: &[f32], dst: &mut [u8]) {
    let dst = &mut dst[..kind.bytes(x.len())];
    match kind {
        ActKind::F32 => {
            let dst = cast_mut::<f32>(dst);
            dst[..x.len()].copy_from_slice(x);
            dst[x.len()..].fill(0.0);
        }
        ActKind::I8 => prepare_blocks::<I8Block>(x, dst),
        ActKind::I16Split => prepare_blocks::<SplitBlock>(x, dst),
        ActKind::I16 => prepare_blocks::<I16Block>(x, dst),
    }
}

#[inline(always)]
fn prepare_blocks<B: ActBlock>(x: &[f32], dst: &mut [u8]) {
    let (blocks, rest) = x.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "integer activations come in blocks of 32");
    for (block, values) in cast_mut::<B>(dst).iter_mut().zip(blocks) {
        *block = B::quantize(values);
    }
}

/// Plain data.
///
/// # Safety
/// Any bytes are a valid value, and there is no padding.
pub(super) unsafe trait Plain: Copy {}
// SAFETY: numbers, and `repr(C)` structs of them whose sizes add up.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for I8Block {}
// SAFETY: as above.
unsafe impl Plain for SplitBlock {}
// SAFETY: as above.
unsafe impl Plain for I16Block {}

/// The whole values that `bytes` holds.
pub(super) fn blocks<B: ActBlock>(bytes: &[u8]) -> &[B] {
    cast(bytes)
}

/// The floats that `bytes` holds.
pub(super) fn floats(bytes: &[u8]) -> &[f32] {
    cast(bytes)
}

fn cast<T: Plain>(bytes: &[u8]) -> &[T] {
    assert!(bytes.as_ptr().addr().is_multiple_of(align_of::<T>()));
    // SAFETY: aligned (just checked), within the slice (rounded down), and
    // `Plain` types are valid for any bytes.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
}

/// The whole values that `bytes` holds, to be written.
pub(super) fn floats_mut(bytes: &mut [u8]) -> &mut [f32] {
    cast_mut(bytes)
}

fn cast_mut<T: Plain>(bytes: &mut [u8]) -> &mut [T] {
    assert!(bytes.as_ptr().addr().is_multiple_of(align_of::<T>()));
    let len = bytes.len() / size_of::<T>();
    // SAFETY: as in `cast`; the types have no padding, so that the bytes stay
    // initialized, and the borrow is exclusive.
    unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), len) }
}

impl ActBlock for I8Block {
    #[inline(always)]
    fn quantize(x: &[f32; BLOCK]) -> I8Block {
        let (q, meta) = round(x, 127.0);
        I8Block {
            q: q.map(|v| v as i8),
            meta,
        }
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl ActBlock for SplitBlock {
    #[inline(always)]
    fn quantize(x: &[f32; BLOCK]) -> SplitBlock {
        let (q, meta) = round(x, I16_MAX);
        // Nearest multiple of 256, so that the rest fits in a signed byte.
        SplitBlock {
            high: q.map(|v| ((v + 128) >> 8) as i8),
            low: q.map(|v| v as i8),
            meta,
        }
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl ActBlock for I16Block {
    #[inline(always)]
    fn quantize(x: &[f32; BLOCK]) -> I16Block {
        let (q, meta) = round(x, I16_MAX);
        I16Block {
            q: core::array::from_fn(|i| q[widened_place(i)] as i16),
            meta,
        }
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// The integers nearest to `x / scale`, ties to even, where `scale` takes the
/// largest magnitude to `max`.
#[inline(always)]
fn round(x: &[f32; BLOCK], max: f32) -> ([i32; BLOCK], Meta) {
    // Magnitudes compare like their bits, with infinity and NaN on top.
    let largest = x.iter().fold(0, |m, v| (v.to_bits() & 0x7fff_ffff).max(m));
    let largest = f32::from_bits(largest);
    if !largest.is_finite() {
        let meta = Meta {
            scale: f32::NAN,
            sum: f32::NAN,
            half_sums: [f32::NAN; 2],
        };
        return ([0; BLOCK], meta);
    }
    // So near to zero that 1 / scale would overflow: as good as zero.
    if largest < 1e-30 {
        return ([0; BLOCK], Meta::default());
    }
    let scale = largest / max;
    let inverse = max / largest;
    // In 1.5 * 2^23 + v the last bit stands for 1: adding rounds v to an
    // integer, ties to even, and leaves it in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let q = x.map(|v| (v * inverse + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32);
    let sum = |q: &[i32]| q.iter().sum::<i32>();
    let halves = [sum(&q[..16]), sum(&q[16..])];
    let meta = Meta {
        scale,
        sum: scale * (halves[0] + halves[1]) as f32,
        half_sums: halves.map(|s| scale * s as f32),
    };
    (q, meta)
}

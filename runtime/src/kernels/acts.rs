//! Activations in the forms that the kernels multiply.
//!
//! A row is prepared once and then meets every row of the weights. The integer
//! forms are blocks of 32 values with one scale, so that they line up with the
//! blocks of the weights. All levels run this one source, and no step of it
//! depends on the order of sums or on fused rounding, so that their prepared
//! rows are equal bit for bit.

use super::Acts;
use super::vector::simd::{LANES, MAGIC, Simd};
use ondol_models::quant::DType;

/// The form of prepared activations. A prepared row is [`ActKind::bytes`] long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActKind {
    /// The values as they are, padded with zeros to a multiple of 16. A row
    /// whose length is such a multiple is its own prepared form.
    F32,
    /// 8 bits, |q| <= 127: prefill with low-bit weights, and with signed levels of
    /// 8 bits where products of 8 bits add up in 32 at once.
    I8,
    /// The same, where the weights' super-blocks are rounded to 8 bits with one scale
    /// each: prefill with K-quants, where products of 8 bits add up in 32 at once.
    I8Rounded,
    /// 16 bits, |q| <= 32639, as two planes of 8 bits: decode, where [`ActKind::I8`]
    /// is for prefill.
    I16Split,
    /// 16 bits, |q| <= 32639: signed levels of 8 bits where products of 8 bits do not
    /// add up in 32 at once.
    I16,
    /// 14 bits, |q| <= 8191: prefill with weights of half floats, which are
    /// rounded to as many (their own 11 bits leave room for three in a block's
    /// range), so that the sum of a block fits in 32.
    I14,
}

/// Elements of a block.
pub(super) const BLOCK: usize = 32;

/// Vectors of a block.
const VECTORS: usize = BLOCK / LANES;

/// The largest 16-bit value whose two planes both fit in 8 bits: 127 * 256 + 127.
const I16_MAX: f32 = 32639.0;

/// The largest value of which 32 products fit in 32 bits.
const I14_MAX: f32 = 8191.0;

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
    /// -128 times the sum of `q`: what signed levels lack where they multiply as
    /// unsigned ones, 128 higher.
    pub offset: i32,
}

/// A value that the blocks of an [`ActKind::I8`] row leave out, since it would take
/// the others' precision: about [`FAR`] times as large as any other of its block.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Outlier {
    /// Which element of the row.
    pub at: u32,
    /// Never zero.
    pub value: f32,
}

/// How far out an [`Outlier`] is. benches/NOTES.md has what other bounds gave.
const FAR: u8 = 6;

/// A block of [`ActKind::I16Split`]: q = 256 * high + low.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct SplitBlock {
    pub high: [i8; BLOCK],
    pub low: [i8; BLOCK],
    pub meta: Meta,
    /// [`I8Block::offset`], for `high` and for `low`.
    pub offsets: [i32; 2],
}

/// A block of [`ActKind::I16`] or [`ActKind::I14`]. Within each four the order is 0, 2, 1, 3: the
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
    fn quantize<L: Simd>(l: L, x: &[f32; BLOCK]) -> Self;
    fn meta(&self) -> &Meta;
    /// Whether rows may leave values out of their blocks.
    const LEAVES_OUT: bool = false;
    /// What the blocks of a prepared row of `cols` elements leave out, in order.
    #[inline(always)]
    fn outliers(_row: &[u8], _cols: usize) -> impl Iterator<Item = &Outlier> {
        [].iter()
    }
}

impl ActKind {
    /// Every form.
    pub const ALL: [ActKind; 6] = [
        ActKind::F32,
        ActKind::I8,
        ActKind::I8Rounded,
        ActKind::I16Split,
        ActKind::I16,
        ActKind::I14,
    ];

    /// Whether kernels multiply this form with weights of this type.
    pub fn fits(self, dtype: DType) -> bool {
        match dtype {
            _ if self == ActKind::F32 => true,
            DType::F32 => false,
            DType::F16 | DType::BF16 => self == ActKind::I14,
            _ if self == ActKind::I16 => has_signed_bytes(dtype),
            _ if self == ActKind::I8Rounded => has_super_blocks(dtype),
            _ => self != ActKind::I14,
        }
    }

    /// Bytes of one prepared row of `cols` elements, a multiple of [`Acts::ALIGN`].
    pub fn bytes(self, cols: usize) -> usize {
        let bytes = match self {
            ActKind::F32 => cols * size_of::<f32>(),
            // One of each block may be left out.
            ActKind::I8 | ActKind::I8Rounded => {
                cols.div_ceil(BLOCK) * (size_of::<I8Block>() + size_of::<Outlier>())
            }
            ActKind::I16Split => cols.div_ceil(BLOCK) * size_of::<SplitBlock>(),
            ActKind::I16 | ActKind::I14 => cols.div_ceil(BLOCK) * size_of::<I16Block>(),
        };
        bytes.next_multiple_of(Acts::ALIGN)
    }
}

/// Whether the levels of this type are signed and have 8 bits.
pub(super) fn has_signed_bytes(dtype: DType) -> bool {
    matches!(dtype, DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS)
}

/// Whether this type has super-blocks of few bits, whose blocks have integer scales.
pub(super) fn has_super_blocks(dtype: DType) -> bool {
    use DType::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};
    matches!(dtype, Q2_K | Q3_K | Q4_K | Q5_K | Q6_K)
}

/// Prepares one row. `dst` holds at least `kind.bytes(x.len())` bytes, aligned
/// to 4; the integer forms but I14 ask for whole blocks.
#[inline(always)]
pub(super) fn prepare<L: Simd>(l: L, kind: ActKind, x: &[f32], dst: &mut [u8]) {
    let dst = &mut dst[..kind.bytes(x.len())];
    match kind {
        ActKind::F32 => {
            let dst = cast_mut::<f32>(dst);
            dst[..x.len()].copy_from_slice(x);
            dst[x.len()..].fill(0.0);
        }
        ActKind::I8 | ActKind::I8Rounded => prepare_bytes(l, x, dst),
        ActKind::I16Split => prepare_blocks::<L, SplitBlock>(l, x, dst),
        ActKind::I16 => prepare_blocks::<L, I16Block>(l, x, dst),
        ActKind::I14 => {
            for (block, values) in cast_mut::<I16Block>(dst).iter_mut().zip(x.chunks(BLOCK)) {
                *block = match values.first_chunk() {
                    Some(values) => I16Block::of_14_bits(l, values),
                    None => {
                        let mut padded = [0.0; BLOCK];
                        padded[..values.len()].copy_from_slice(values);
                        I16Block::of_14_bits(l, &padded)
                    }
                };
            }
        }
    }
}

/// Blocks, then what they leave out, up to an entry of value zero or the row's end.
#[inline(always)]
fn prepare_bytes<L: Simd>(l: L, x: &[f32], dst: &mut [u8]) {
    let (blocks, outliers) = dst.split_at_mut(x.len() / BLOCK * size_of::<I8Block>());
    prepare_blocks::<L, I8Block>(l, x, blocks);
    let mut outliers = cast_mut::<Outlier>(outliers).iter_mut();
    let values = x.as_chunks::<BLOCK>().0;
    for (b, (block, values)) in cast_mut::<I8Block>(blocks)
        .iter_mut()
        .zip(values)
        .enumerate()
    {
        if let Some(at) = outlier(&block.q)
            && let Some(next) = outliers.next()
        {
            let mut rest = *values;
            rest[at] = 0.0;
            *block = I8Block::quantize(l, &rest);
            *next = Outlier {
                at: (b * BLOCK + at) as u32,
                value: values[at],
            };
        }
    }
    if let Some(end) = outliers.next() {
        *end = Outlier::default();
    }
}

/// Which value of a block, by its integers, is far larger than all others, if one is.
// A loop to count: closures would not melt into the level's code.
#[inline(always)]
fn outlier(q: &[i8; BLOCK]) -> Option<usize> {
    const NEAR: u8 = 127 / FAR;
    let mut far = 0;
    for q in q {
        far += u8::from(q.unsigned_abs() > NEAR);
    }
    if far != 1 {
        return None;
    }
    q.iter().position(|q| q.unsigned_abs() > NEAR)
}

#[inline(always)]
fn prepare_blocks<L: Simd, B: ActBlock>(l: L, x: &[f32], dst: &mut [u8]) {
    let (blocks, rest) = x.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "integer activations come in blocks of 32");
    for (block, values) in cast_mut::<B>(dst).iter_mut().zip(blocks) {
        *block = B::quantize(l, values);
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
unsafe impl Plain for Outlier {}
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
    fn quantize<L: Simd>(l: L, x: &[f32; BLOCK]) -> I8Block {
        let Rounded { v, meta, sum } = round(l, x, 127.0);
        let mut q = [0; BLOCK];
        l.store_low_8(v, &mut q);
        let offset = -128 * sum;
        I8Block { q, meta, offset }
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }

    const LEAVES_OUT: bool = true;

    #[inline(always)]
    fn outliers(row: &[u8], cols: usize) -> impl Iterator<Item = &Outlier> {
        let outliers: &[Outlier] = cast(&row[cols / BLOCK * size_of::<I8Block>()..]);
        outliers.iter().take_while(|outlier| outlier.value != 0.0)
    }
}

impl ActBlock for SplitBlock {
    #[inline(always)]
    fn quantize<L: Simd>(l: L, x: &[f32; BLOCK]) -> SplitBlock {
        let Rounded { v, meta, sum } = round(l, x, I16_MAX);
        let (mut high, mut low) = ([0; BLOCK], [0; BLOCK]);
        l.store_low_8(v, &mut low);
        let v = multiples_of_256(l, v);
        l.store_low_8(v, &mut high);
        let [first, second] = half_sums(l, v);
        let high_sum = (first + second) as i32;
        let offsets = [-128 * high_sum, -128 * (sum - 256 * high_sum)];
        SplitBlock {
            high,
            low,
            meta,
            offsets,
        }
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl I16Block {
    /// Quantizes 32 values, activations or weights, to 14 bits.
    #[inline(always)]
    pub(super) fn of_14_bits<L: Simd>(l: L, x: &[f32; BLOCK]) -> I16Block {
        I16Block::rounded(l, x, I14_MAX)
    }

    #[inline(always)]
    fn rounded<L: Simd>(l: L, x: &[f32; BLOCK], max: f32) -> I16Block {
        let Rounded { v, meta, .. } = round(l, x, max);
        let mut q = [0; BLOCK];
        l.store_low_16(v, &mut q);
        I16Block { q, meta }
    }
}

impl ActBlock for I16Block {
    #[inline(always)]
    fn quantize<L: Simd>(l: L, x: &[f32; BLOCK]) -> I16Block {
        I16Block::rounded(l, x, I16_MAX)
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// 32 values as integers.
struct Rounded<L: Simd> {
    /// The integers, with [`MAGIC`] added.
    v: [L::V; VECTORS],
    meta: Meta,
    /// Their sum.
    sum: i32,
}

/// The integers nearest to `x / scale`, ties to even, where `scale` takes the
/// largest magnitude to `max <= 32767`.
// Loops, not closures, here and below: those would not melt into the level's code.
#[inline(always)]
fn round<L: Simd>(l: L, x: &[f32; BLOCK], max: f32) -> Rounded<L> {
    let magic = l.splat(MAGIC);
    let mut v = [magic; VECTORS];
    let mut magnitudes = l.splat(0.0);
    for (v, part) in v.iter_mut().zip(x.as_chunks::<LANES>().0) {
        *v = l.load(part);
        magnitudes = l.max(l.abs(*v), magnitudes);
    }
    let largest = l.max_lane(magnitudes);
    // So near to zero that 1 / scale would overflow; or not finite.
    if !(1e-30..=f32::MAX).contains(&largest) {
        return Rounded::none(l, x);
    }
    let inverse = l.splat(max / largest);
    for v in &mut v {
        *v = l.add(l.mul(*v, inverse), magic);
    }
    let [first, second] = half_sums(l, v);
    if (first + second).is_nan() {
        return Rounded::none(l, x);
    }
    let scale = largest / max;
    let meta = Meta {
        scale,
        sum: scale * (first + second),
        half_sums: [scale * first, scale * second],
    };
    let sum = (first + second) as i32;
    Rounded { v, meta, sum }
}

impl<L: Simd> Rounded<L> {
    /// No integers but zero.
    #[inline(always)]
    fn none(l: L, x: &[f32; BLOCK]) -> Self {
        Rounded {
            v: [l.splat(MAGIC); VECTORS],
            meta: Meta::unrounded(x),
            sum: 0,
        }
    }
}

/// The sums of the first and the second 16 integers, to which [`MAGIC`] is added:
/// below 2^24 in all, so that no order of adding them rounds.
#[inline(always)]
fn half_sums<L: Simd>(l: L, mut v: [L::V; VECTORS]) -> [f32; 2] {
    for v in &mut v {
        *v = l.sub(*v, l.splat(MAGIC));
    }
    let [a, b, c, d] = l.sum4(v);
    [a + b, c + d]
}

/// Of each rounded integer the multiple of 256 that leaves a signed byte,
/// divided by 256.
#[inline(always)]
fn multiples_of_256<L: Simd>(l: L, mut v: [L::V; VECTORS]) -> [L::V; VECTORS] {
    let magic = l.splat(MAGIC);
    for v in &mut v {
        // The half keeps 128 from being a tie: it goes up, -128 stays.
        let q = l.add(l.sub(*v, magic), l.splat(0.5));
        *v = l.add(l.mul(q, l.splat(1.0 / 256.0)), magic);
    }
    v
}

impl Meta {
    /// Of a block whose integers are all zero: as good as zero itself, or with
    /// values that are not finite.
    #[cold]
    fn unrounded(x: &[f32; BLOCK]) -> Meta {
        if x.iter().all(|v| v.is_finite()) {
            return Meta::default();
        }
        Meta {
            scale: f32::NAN,
            sum: f32::NAN,
            half_sums: [f32::NAN; 2],
        }
    }
}

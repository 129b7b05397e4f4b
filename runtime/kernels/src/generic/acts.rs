//! Activations in the forms that the kernels multiply.
//!
//! A row is prepared once and then multiplied with every row of the weights. The integer
//! forms are blocks of 32 values with one scale, so that they line up with the blocks of
//! the weights. All ISAs run this one source, and no step of it depends on the order of
//! sums or on fused rounding, so that their prepared rows are equal bit for bit.

use super::formats::Codes;
use super::matrix::Acts;
use super::oracle::{WeightBlock, dot, fma};
use super::simd::{LANES, MAGIC, Simd};
use ondol_models::quant::DType;

/// The form of prepared activations. A prepared row is [`ActKind::bytes`] long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActKind {
    /// The values as they are, padded with zeros to a multiple of 16. A row
    /// whose length is such a multiple is its own prepared form.
    F32,
    /// 8 bits, |q| <= 127: prefill with low-bit weights, and with signed codes of
    /// 8 bits where products of 8 bits add up in 32 at once.
    I8,
    /// The same, where the weights' super-blocks are rounded to 8 bits with one scale
    /// each: prefill with K-quants, where products of 8 bits add up in 32 at once.
    I8Rounded,
    /// 16 bits, |q| <= 32639, as two planes of 8 bits: decode, with the weights for which
    /// prefill uses [`ActKind::I8`].
    I16Split,
    /// 16 bits, |q| <= 32639: signed codes of 8 bits where products of 8 bits do not
    /// add up in 32 at once.
    I16,
    /// 14 bits, |q| <= 8191: prefill with weights of half floats, which are rounded to 14
    /// bits too, so that the sum of a block fits in 32. A half float has 11 significant
    /// bits, so weights down to an eighth of a block's largest keep about their
    /// precision.
    I14,
}

/// Elements of a block.
pub(crate) const BLOCK: usize = 32;

/// Vectors of a block.
const VECTORS: usize = BLOCK / LANES;

/// The largest 16-bit value whose two planes both fit in 8 bits: 127 * 256 + 127.
const I16_MAX: f32 = 32639.0;

/// The largest value of which 32 products fit in 32 bits.
const I14_MAX: f32 = 8191.0;

/// What a block's integers stand for.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Meta {
    /// The value of the integer 1: NaN where the block held a value that is not finite.
    pub scale: f32,
    /// `scale` times the sum of all 32 integers.
    pub sum: f32,
    /// The same for the first and the second 16.
    pub half_sums: [f32; 2],
}

/// 32 activations of 8 bits.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct I8Plane {
    pub q: [i8; BLOCK],
    /// -128 times the sum of `q`: the correction where signed codes are multiplied as
    /// unsigned ones, which are 128 higher.
    pub offset: i32,
}

/// 32 activations of 16 bits. Within each four the order is 0, 2, 1, 3: the order in
/// which four bytes of weights widen to 16 bits in place.
pub(crate) type I16Plane = [i16; BLOCK];

/// A block of [`ActKind::I8`].
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct I8Block {
    pub meta: Meta,
    pub plane: I8Plane,
}

/// A value that the blocks of an [`ActKind::I8`] row leave out, since with it the others
/// would lose precision. It is at least about [`FAR`] times as large as any other of its
/// block.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Outlier {
    /// Which element of the row.
    pub at: u32,
    /// Never zero.
    pub value: f32,
}

/// An [`Outlier`] is at least about this many times as large as any other value of its
/// block. benches/NOTES.md has the results with other bounds.
const FAR: u8 = 6;

/// A block of [`ActKind::I16Split`]: q = 256 * high + low.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct SplitBlock {
    pub meta: Meta,
    pub high: I8Plane,
    pub low: I8Plane,
}

/// A block of [`ActKind::I16`] or [`ActKind::I14`].
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct I16Block {
    pub q: I16Plane,
    pub meta: Meta,
}

/// Where [`I16Block`] keeps element `i`.
pub(crate) const fn widened_place(i: usize) -> usize {
    (i & !3) | [0, 2, 1, 3][i & 3]
}

/// A block as it lies in a prepared row.
///
/// # Safety
/// Any bytes are a valid value, and there is no padding.
pub(crate) unsafe trait ActBlock: Copy {
    /// What a panel of weights multiplies at once.
    type Plane;
    /// How many planes there are; the second counts 256 times less than the first.
    const PLANES: usize = 1;
    /// Whether rows may leave values out of their blocks.
    const LEAVES_OUT: bool = false;

    /// Quantizes 32 values.
    fn quantize<S: Simd>(s: S, x: &[f32; BLOCK]) -> Self;
    fn meta(&self) -> &Meta;
    /// One of the planes.
    fn plane(&self, which: usize) -> &Self::Plane;
    /// The sum of `sub * q * x`, rounded once, by the oracle.
    fn dot(&self, w: &WeightBlock) -> f32;
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
        match (self, Codes::of(dtype)) {
            (ActKind::F32, _) => true,
            (ActKind::I14, _) => matches!(dtype, DType::F16 | DType::BF16),
            (ActKind::I8Rounded, codes) => codes.is_some_and(Codes::are_super),
            (ActKind::I16, codes) => matches!(codes, Some(Codes::Signed)),
            (ActKind::I8 | ActKind::I16Split, codes) => codes.is_some(),
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

/// Prepares one row. `dst` holds at least `kind.bytes(x.len())` bytes, aligned
/// to 4; the integer forms but I14 ask for whole blocks.
#[inline(always)]
pub(crate) fn prepare<S: Simd>(s: S, kind: ActKind, x: &[f32], dst: &mut [u8]) {
    let dst = &mut dst[..kind.bytes(x.len())];
    match kind {
        ActKind::F32 => {
            let dst = floats_mut(dst);
            dst[..x.len()].copy_from_slice(x);
            dst[x.len()..].fill(0.0);
        }
        ActKind::I8 | ActKind::I8Rounded => prepare_bytes(s, x, dst),
        ActKind::I16Split => prepare_blocks::<S, SplitBlock>(s, x, dst),
        ActKind::I16 => prepare_blocks::<S, I16Block>(s, x, dst),
        ActKind::I14 => {
            for (block, values) in blocks_mut::<I16Block>(dst).iter_mut().zip(x.chunks(BLOCK)) {
                *block = match values.first_chunk() {
                    Some(values) => I16Block::of_14_bits(s, values),
                    None => {
                        let mut padded = [0.0; BLOCK];
                        padded[..values.len()].copy_from_slice(values);
                        I16Block::of_14_bits(s, &padded)
                    }
                };
            }
        }
    }
}

/// Writes the blocks, then the outliers that they leave out. The list ends with an entry
/// of value zero, or with the row.
#[inline(always)]
fn prepare_bytes<S: Simd>(s: S, x: &[f32], dst: &mut [u8]) {
    let (blocks, outliers) = dst.split_at_mut(x.len() / BLOCK * size_of::<I8Block>());
    prepare_blocks::<S, I8Block>(s, x, blocks);
    // SAFETY: any bytes are outliers, which have no padding.
    let mut outliers = unsafe { cast_mut::<Outlier>(outliers) }.iter_mut();
    let values = x.as_chunks::<BLOCK>().0;
    for (b, (block, values)) in blocks_mut::<I8Block>(blocks)
        .iter_mut()
        .zip(values)
        .enumerate()
    {
        if let Some(at) = outlier(&block.plane.q)
            && let Some(next) = outliers.next()
        {
            let mut rest = *values;
            rest[at] = 0.0;
            *block = I8Block::quantize(s, &rest);
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
// Counts in a loop: closures might not be inlined into the code that has the ISA's
// features.
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
fn prepare_blocks<S: Simd, B: ActBlock>(s: S, x: &[f32], dst: &mut [u8]) {
    let (blocks, rest) = x.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "integer activations come in blocks of 32");
    for (block, values) in blocks_mut::<B>(dst).iter_mut().zip(blocks) {
        *block = B::quantize(s, values);
    }
}

/// The whole blocks that `bytes` holds.
pub(crate) fn blocks<B: ActBlock>(bytes: &[u8]) -> &[B] {
    // SAFETY: any bytes are blocks.
    unsafe { cast(bytes) }
}

/// The whole blocks that `bytes` holds, to be written.
fn blocks_mut<B: ActBlock>(bytes: &mut [u8]) -> &mut [B] {
    // SAFETY: any bytes are blocks, which have no padding.
    unsafe { cast_mut(bytes) }
}

/// The floats that `bytes` holds.
pub(crate) fn floats(bytes: &[u8]) -> &[f32] {
    // SAFETY: any bytes are floats.
    unsafe { cast(bytes) }
}

/// The floats that `bytes` holds, to be written.
pub(crate) fn floats_mut(bytes: &mut [u8]) -> &mut [f32] {
    // SAFETY: any bytes are floats, which have no padding.
    unsafe { cast_mut(bytes) }
}

/// The whole values that `bytes` holds.
///
/// # Safety
/// Any bytes are a value.
unsafe fn cast<T>(bytes: &[u8]) -> &[T] {
    assert!(bytes.as_ptr().addr().is_multiple_of(align_of::<T>()));
    // SAFETY: aligned (just checked), within the slice (rounded down), and
    // the caller's type is valid for any bytes.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
}

/// The whole values that `bytes` holds, to be written.
///
/// # Safety
/// Any bytes are a value, and there is no padding, so that the bytes stay initialized.
unsafe fn cast_mut<T>(bytes: &mut [u8]) -> &mut [T] {
    assert!(bytes.as_ptr().addr().is_multiple_of(align_of::<T>()));
    let len = bytes.len() / size_of::<T>();
    // SAFETY: as in `cast`, and the borrow is exclusive.
    unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), len) }
}

// SAFETY: `repr(C)` structs of numbers of one alignment, whose sizes add up.
unsafe impl ActBlock for I8Block {
    type Plane = I8Plane;
    const LEAVES_OUT: bool = true;

    #[inline(always)]
    fn quantize<S: Simd>(s: S, x: &[f32; BLOCK]) -> I8Block {
        let Rounded { v, meta, sum } = round(s, x, 127.0);
        let plane = I8Plane::of(s, v, sum);
        I8Block { plane, meta }
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }

    #[inline(always)]
    fn plane(&self, _: usize) -> &I8Plane {
        &self.plane
    }

    #[inline]
    fn dot(&self, w: &WeightBlock) -> f32 {
        self.plane.dot(w) as f32
    }

    #[inline(always)]
    fn outliers(row: &[u8], cols: usize) -> impl Iterator<Item = &Outlier> {
        // SAFETY: any bytes are outliers.
        let outliers: &[Outlier] = unsafe { cast(&row[cols / BLOCK * size_of::<I8Block>()..]) };
        outliers.iter().take_while(|outlier| outlier.value != 0.0)
    }
}

impl I8Plane {
    /// The lowest bytes of integers, and what follows from their sum.
    #[inline(always)]
    fn of<S: Simd>(s: S, v: [S::V; VECTORS], sum: i32) -> I8Plane {
        let mut q = [0; BLOCK];
        s.store_low_8(v, &mut q);
        let offset = -128 * sum;
        I8Plane { q, offset }
    }

    #[inline]
    fn dot(&self, w: &WeightBlock) -> i32 {
        dot(w, |i| self.q[i].into())
    }
}

// SAFETY: as above.
unsafe impl ActBlock for SplitBlock {
    type Plane = I8Plane;
    const PLANES: usize = 2;

    #[inline(always)]
    fn quantize<S: Simd>(s: S, x: &[f32; BLOCK]) -> SplitBlock {
        let Rounded { v, meta, sum } = round(s, x, I16_MAX);
        let high = multiples_of_256(s, v);
        let [first, second] = half_sums(s, high);
        let high_sum = (first + second) as i32;
        SplitBlock {
            high: I8Plane::of(s, high, high_sum),
            low: I8Plane::of(s, v, sum - 256 * high_sum),
            meta,
        }
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }

    #[inline(always)]
    fn plane(&self, which: usize) -> &I8Plane {
        [&self.high, &self.low][which]
    }

    #[inline]
    fn dot(&self, w: &WeightBlock) -> f32 {
        fma(self.high.dot(w) as f32, 256.0, self.low.dot(w) as f32)
    }
}

impl I16Block {
    /// Quantizes 32 values, activations or weights, to 14 bits.
    #[inline(always)]
    pub(crate) fn of_14_bits<S: Simd>(s: S, x: &[f32; BLOCK]) -> I16Block {
        I16Block::rounded(s, x, I14_MAX)
    }

    #[inline(always)]
    fn rounded<S: Simd>(s: S, x: &[f32; BLOCK], max: f32) -> I16Block {
        let Rounded { v, meta, .. } = round(s, x, max);
        let mut q = [0; BLOCK];
        s.store_low_16(v, &mut q);
        I16Block { q, meta }
    }
}

// SAFETY: as above.
unsafe impl ActBlock for I16Block {
    type Plane = I16Plane;

    #[inline(always)]
    fn quantize<S: Simd>(s: S, x: &[f32; BLOCK]) -> I16Block {
        I16Block::rounded(s, x, I16_MAX)
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }

    #[inline(always)]
    fn plane(&self, _: usize) -> &I16Plane {
        &self.q
    }

    #[inline]
    fn dot(&self, w: &WeightBlock) -> f32 {
        dot(w, |i| self.q[widened_place(i)].into()) as f32
    }
}

/// 32 values as integers.
struct Rounded<S: Simd> {
    /// The integers, with [`MAGIC`] added.
    v: [S::V; VECTORS],
    meta: Meta,
    /// Their sum.
    sum: i32,
}

/// The integers nearest to `x / scale`, ties to even, where `scale` takes the
/// largest magnitude to `max <= 32767`.
// Loops, not closures, here and below: closures might not be inlined into the code that
// has the ISA's features.
#[inline(always)]
fn round<S: Simd>(s: S, x: &[f32; BLOCK], max: f32) -> Rounded<S> {
    let magic = s.splat(MAGIC);
    let mut v = [magic; VECTORS];
    let mut magnitudes = s.splat(0.0);
    for (v, part) in v.iter_mut().zip(x.as_chunks::<LANES>().0) {
        *v = s.load(part);
        magnitudes = s.max(s.abs(*v), magnitudes);
    }
    let largest = s.max_lane(magnitudes);
    // So near to zero that 1 / scale would overflow; or not finite.
    if !(1e-30..=f32::MAX).contains(&largest) {
        return Rounded::none(s, x);
    }
    let inverse = s.splat(max / largest);
    for v in &mut v {
        *v = s.add(s.mul(*v, inverse), magic);
    }
    let [first, second] = half_sums(s, v);
    if (first + second).is_nan() {
        return Rounded::none(s, x);
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

impl<S: Simd> Rounded<S> {
    /// No integers but zero.
    #[inline(always)]
    fn none(s: S, x: &[f32; BLOCK]) -> Self {
        Rounded {
            v: [s.splat(MAGIC); VECTORS],
            meta: Meta::unrounded(x),
            sum: 0,
        }
    }
}

/// The sums of the first and the second 16 integers, to which [`MAGIC`] is added:
/// below 2^24 in all, so that no order of adding them rounds.
#[inline(always)]
fn half_sums<S: Simd>(s: S, mut v: [S::V; VECTORS]) -> [f32; 2] {
    for v in &mut v {
        *v = s.sub(*v, s.splat(MAGIC));
    }
    let [a, b, c, d] = s.sum4(v);
    [a + b, c + d]
}

/// Of each rounded integer the multiple of 256 that leaves a signed byte,
/// divided by 256.
#[inline(always)]
fn multiples_of_256<S: Simd>(s: S, mut v: [S::V; VECTORS]) -> [S::V; VECTORS] {
    let magic = s.splat(MAGIC);
    for v in &mut v {
        // The half keeps 128 from being a tie: it goes up, -128 stays.
        let q = s.add(s.sub(*v, magic), s.splat(0.5));
        *v = s.add(s.mul(q, s.splat(1.0 / 256.0)), magic);
    }
    v
}

impl Meta {
    /// The meta of a block whose integers are all zero: its values are nearly zero, or
    /// some are not finite.
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

//! Eight 32-bit lanes of integers, one for each row of a group: the small
//! vector trait over which block formats are decoded once for every ISA.

use crate::kernels::vector::simd::Simd;

/// The integer operations of one CPU level, beside its floats.
///
/// A vector is eight lanes of 32 bits, in two halves of 16 bytes; bytes and
/// 16-bit numbers lie in a lane little-endian. As with [`Simd`], a value of the
/// level proves that the CPU runs it, and all methods are `#[inline(always)]`.
pub(in crate::kernels) trait Lanes: Simd {
    /// Eight 32-bit lanes.
    type I: Copy;

    /// All bytes are `x`.
    fn splat_i8(self, x: i8) -> Self::I;
    /// All lanes are `x`.
    fn splat_i32(self, x: i32) -> Self::I;
    /// The 16 bytes in both halves.
    fn splat_half(self, x: &[i8; 16]) -> Self::I;
    /// The lanes.
    fn lanes_u32(self, x: [u32; 8]) -> Self::I;
    /// Eight half floats by their bits, widened.
    fn lanes_f16(self, x: [u16; 8]) -> Self::V;

    /// `a & b`.
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a | b`.
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a + b` in each byte, modulo 2^8.
    fn add_i8(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a - b` in each byte, modulo 2^8.
    fn sub_i8(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a + b` in each lane, modulo 2^32.
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shifts each 16-bit number left.
    fn shl_16<const N: i32>(self, v: Self::I) -> Self::I;
    /// Shifts each 16-bit number right, zeros coming in.
    fn shr_16<const N: i32>(self, v: Self::I) -> Self::I;
    /// Shifts each lane left.
    fn shl_32<const N: i32>(self, v: Self::I) -> Self::I;
    /// Shifts each lane right, zeros coming in.
    fn shr_32<const N: i32>(self, v: Self::I) -> Self::I;
    /// Shifts each lane right, copies of the sign coming in.
    fn sar_32<const N: i32>(self, v: Self::I) -> Self::I;
    /// `a > b ? x : y` in each lane, signed.
    fn select_gt_i32(self, a: Self::I, b: Self::I, x: Self::I, y: Self::I) -> Self::I;
    /// In each half, byte `i` becomes byte `index[i]` of the same half of `v`,
    /// for indices below 16, and zero for negative ones.
    fn shuffle(self, v: Self::I, index: Self::I) -> Self::I;
    /// Signed lanes as floats, rounded to nearest.
    fn to_floats(self, v: Self::I) -> Self::V;
    /// The lanes' bits as floats.
    fn float_bits(self, v: Self::I) -> Self::V;
    /// The two half floats in each lane, widened: the lower ones, then the upper.
    fn f16_pairs(self, v: Self::I) -> [Self::V; 2];

    /// Reads 32 bytes.
    ///
    /// # Safety
    /// They must be there.
    unsafe fn load_lanes(self, from: *const u8) -> Self::I;
    /// Reads eight half floats, widened.
    ///
    /// # Safety
    /// The 16 bytes must be there.
    unsafe fn load_f16s(self, from: *const u8) -> Self::V;
    /// Reads 16 bytes of each of eight rows, `stride` bytes apart: lane `r` of
    /// vector `j` gets bytes `4j..4j + 4` of row `r`.
    ///
    /// # Safety
    /// The bytes must be there.
    unsafe fn load_transposed(self, from: *const u8, stride: usize) -> [Self::I; 4];
    /// Asks for the cache line at this address, wherever it points.
    fn prefetch(self, at: *const u8);
}

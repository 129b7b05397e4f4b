//! Lanes of 32 bits, one for each row of weights that is worked on at once: the
//! small vector trait over which block formats are decoded once for every ISA.

use crate::kernels::vector::simd::Op;

/// The most lanes that a level has.
pub(in crate::kernels) const MAX_LANES: usize = 16;

/// The operations of one CPU level on lanes of integers and of floats.
///
/// A vector is [`Lanes::COUNT`] lanes of 32 bits, in quarters of 16 bytes; bytes
/// and 16-bit numbers lie in a lane little-endian. As with
/// [`Simd`](crate::kernels::vector::simd::Simd), a value of the level proves
/// that the CPU runs it, and all methods are `#[inline(always)]`. Arrays of
/// [`MAX_LANES`] are used as far as there are lanes.
pub(in crate::kernels) trait Lanes: Copy + Send + Sync + 'static {
    /// Lanes of integers.
    type I: Copy;
    /// Lanes of floats.
    type V: Copy;
    /// How many there are: one or two groups of eight.
    const COUNT: usize;

    /// All lanes are `x`.
    fn splat(self, x: f32) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger of `a` and the magnitude of `b`; no meaning where one is NaN.
    fn larger(self, a: Self::V, b: Self::V) -> Self::V;
    /// Writes the lanes.
    fn store(self, v: Self::V, out: &mut [f32; MAX_LANES]);
    /// Runs `op` compiled for this level.
    fn run<O: Op<Self>>(self, op: O);

    /// All bytes are `x`.
    fn splat_i8(self, x: i8) -> Self::I;
    /// All lanes are `x`.
    fn splat_i32(self, x: i32) -> Self::I;
    /// The 16 bytes in every quarter.
    fn splat_16(self, x: &[i8; 16]) -> Self::I;
    /// The lanes.
    fn lanes_u32(self, x: &[u32; MAX_LANES]) -> Self::I;
    /// Half floats by their bits, widened.
    fn lanes_f16(self, x: &[u16; MAX_LANES]) -> Self::V;

    /// `a & b`.
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a | b`.
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a + b` in each byte, modulo 2^8.
    fn add_i8(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a - b` in each byte, modulo 2^8.
    fn sub_i8(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a + b` in each 16-bit number, modulo 2^16.
    fn add_16(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a * b` in each 16-bit number, modulo 2^16.
    fn mul_16(self, a: Self::I, b: Self::I) -> Self::I;
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
    /// In each quarter, byte `i` becomes byte `index[i]` of the same one of `v`,
    /// for indices below 16, and zero for negative ones.
    fn shuffle(self, v: Self::I, index: Self::I) -> Self::I;
    /// Signed lanes as floats, rounded to nearest.
    fn to_floats(self, v: Self::I) -> Self::V;
    /// The nearest integers, ties to even; no meaning beyond 32 bits.
    fn to_integers(self, v: Self::V) -> Self::I;
    /// Signed lanes of many vectors as floats.
    #[inline(always)]
    fn floats<const P: usize, const T: usize>(self, v: [[Self::I; T]; P]) -> [[Self::V; T]; P] {
        let mut floats = [[self.splat(0.0); T]; P];
        for (floats, v) in floats.iter_mut().zip(v) {
            for (float, v) in floats.iter_mut().zip(v) {
                *float = self.to_floats(v);
            }
        }
        floats
    }
    /// The lanes' bits as floats.
    fn float_bits(self, v: Self::I) -> Self::V;
    /// The two half floats in each lane, widened: the lower ones, then the upper.
    fn f16_pairs(self, v: Self::I) -> [Self::V; 2];

    /// Byte `at` of each lane, signed.
    #[inline(always)]
    fn byte(self, v: Self::I, at: usize) -> Self::I {
        // At the top of its lane, zeros below.
        let top = [-1, -1, -1, 0, -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12];
        let index = self.add_i8(self.splat_16(&top), self.splat_i32((at << 24) as i32));
        self.sar_32::<24>(self.shuffle(v, index))
    }

    /// Reads 32 bytes of each group of eight rows, `group` bytes apart.
    ///
    /// # Safety
    /// They must be there.
    unsafe fn load_lanes(self, from: *const u8, group: usize) -> Self::I;
    /// Reads eight half floats of each group, widened.
    ///
    /// # Safety
    /// The 16 bytes must be there, of each group.
    unsafe fn load_f16s(self, from: *const u8, group: usize) -> Self::V;
    /// Reads 16 bytes of each row, `stride` bytes apart: lane `r` of vector `j`
    /// gets bytes `4j..4j + 4` of row `r`.
    ///
    /// # Safety
    /// The bytes must be there.
    unsafe fn load_transposed(self, from: *const u8, stride: usize) -> [Self::I; 4];
    /// The same address; the compiler need not know so, where it would rather keep
    /// what was read there on the stack than read it again.
    #[inline(always)]
    fn unknown(self, at: *const u8) -> *const u8 {
        at
    }
}

//! Bit planes: how formats store small unsigned codes in bytes.
//!
//! A code wider than 4 bits is split over two arrays (low bits and high bits), each of
//! which is one of these planes.

/// Unpacks nibbles: of each `GROUP` bytes, the low nibbles are the first `GROUP` codes
/// and the high nibbles the next `GROUP`.
///
/// `out` has two codes for each byte of `packed`.
#[inline]
pub fn unpack4<const GROUP: usize>(packed: &[u8], out: &mut [u8]) {
    let groups = packed.as_chunks::<GROUP>().0;
    for (bytes, codes) in groups.iter().zip(out.chunks_exact_mut(2 * GROUP)) {
        let (low, high) = codes.split_at_mut(GROUP);
        for i in 0..GROUP {
            low[i] = bytes[i] & 15;
            high[i] = bytes[i] >> 4;
        }
    }
}

/// Packs what [`unpack4`] unpacks; bits of a code above the fourth are dropped.
#[inline]
pub fn pack4<const GROUP: usize>(codes: &[u8], packed: &mut [u8]) {
    let groups = packed.as_chunks_mut::<GROUP>().0;
    for (bytes, codes) in groups.iter_mut().zip(codes.chunks_exact(2 * GROUP)) {
        let (low, high) = codes.split_at(GROUP);
        for i in 0..GROUP {
            bytes[i] = (low[i] & 15) | (high[i] << 4);
        }
    }
}

/// Unpacks 2-bit codes: of each 32 bytes, bits 0-1 are the first 32 codes, bits 2-3 the
/// next 32, and so on.
#[inline]
pub fn unpack2(packed: &[u8; 64]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (bytes, codes) in packed
        .as_chunks::<32>()
        .0
        .iter()
        .zip(codes.chunks_exact_mut(128))
    {
        for (plane, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for i in 0..32 {
                codes[i] = (bytes[i] >> (2 * plane)) & 3;
            }
        }
    }
    codes
}

/// Packs what [`unpack2`] unpacks; bits of a code above the second are dropped.
#[inline]
pub fn pack2(codes: &[u8; 256]) -> [u8; 64] {
    let mut packed = [0; 64];
    for (bytes, codes) in packed
        .as_chunks_mut::<32>()
        .0
        .iter_mut()
        .zip(codes.chunks_exact(128))
    {
        for (plane, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
            for i in 0..32 {
                bytes[i] |= (codes[i] & 3) << (2 * plane);
            }
        }
    }
    packed
}

/// Unpacks single bits: bit 0 of each of the 32 bytes is the first 32 codes, bit 1 the
/// next 32, and so on.
#[inline]
pub fn unpack1(packed: &[u8; 32]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (plane, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for i in 0..32 {
            codes[i] = (packed[i] >> plane) & 1;
        }
    }
    codes
}

/// Packs what [`unpack1`] unpacks; bits of a code above the first are dropped.
#[inline]
pub fn pack1(codes: &[u8; 256]) -> [u8; 32] {
    let mut packed = [0; 32];
    for (plane, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
        for i in 0..32 {
            packed[i] |= (codes[i] & 1) << plane;
        }
    }
    packed
}

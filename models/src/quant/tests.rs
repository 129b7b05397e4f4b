use super::*;

#[test]
fn the_tables_agree() {
    for (dtype, codec) in DType::all().zip(&CODECS) {
        assert_eq!(dtype, codec.dtype);
        // Two blocks of zero bytes fill exactly two blocks of zeros.
        let bytes = alloc::vec![0; 2 * dtype.block_bytes()];
        let mut out = alloc::vec![1.0; 2 * dtype.block_len()];
        assert_eq!(dequantize(dtype, &bytes, &mut out), Ok(()));
        assert!(out.iter().all(|&y| y == 0.0), "{dtype}");
    }
}

#[test]
fn sizes_must_agree() {
    for dtype in DType::all() {
        let (len, bytes) = (dtype.block_len(), dtype.block_bytes());
        let src = alloc::vec![0; bytes + 1];
        let mut dst = alloc::vec![0.0; 2 * len];
        for (b, n) in [(bytes, 2 * len), (bytes + 1, len), (bytes - 1, len), (0, len)] {
            let expected = Error::SizeMismatch { dtype, elements: n, bytes: b };
            assert_eq!(dequantize(dtype, &src[..b], &mut dst[..n]), Err(expected));
        }
        assert_eq!(dequantize(dtype, &[], &mut []), Ok(()));
    }
}

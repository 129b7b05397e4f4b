use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

#[test]
fn every_type_has_functions_of_its_size() {
    for dtype in DType::all() {
        assert!(decoder(dtype).is_some() && encoder(dtype).is_some());
        // Two blocks of zero bytes fill exactly two blocks of zeros.
        let bytes = vec![0; 2 * dtype.block_bytes()];
        let mut out = vec![1.0; 2 * dtype.block_len()];
        assert_eq!(dequantize(dtype, &bytes, &mut out), Ok(()));
        assert!(out.iter().all(|&y| y == 0.0), "{dtype}");
    }
}

#[test]
fn sizes_must_agree() {
    for dtype in DType::all() {
        let (len, bytes) = (dtype.block_len(), dtype.block_bytes());
        let src = vec![0; bytes + 1];
        let mut dst = vec![0.0; 2 * len];
        for (b, n) in [
            (bytes, 2 * len),
            (bytes + 1, len),
            (bytes - 1, len),
            (0, len),
        ] {
            let expected = Error::SizeMismatch {
                dtype,
                elements: n,
                bytes: b,
            };
            assert_eq!(dequantize(dtype, &src[..b], &mut dst[..n]), Err(expected));
        }
        assert_eq!(dequantize(dtype, &[], &mut []), Ok(()));
    }
}

fn encoded(dtype: DType, x: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let mut bytes = vec![0; dtype.row_bytes(x.len()).unwrap()];
    quantize(dtype, x, &mut bytes, importance).unwrap();
    bytes
}

fn decoded(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    dequantize(dtype, bytes, &mut out).unwrap();
    out
}

#[test]
fn quantize_refuses_what_is_not_finite() {
    let mut bytes = vec![0; 1024];
    for dtype in DType::all() {
        let mut x = vec![1.0; 256];
        let bytes = &mut bytes[..dtype.row_bytes(256).unwrap()];
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            x[77] = bad;
            assert_eq!(
                quantize(dtype, &x, bytes, None),
                Err(Error::NonFinite { index: 77 })
            );
        }
        x[77] = 0.0;
        let mut weights = vec![1.0; 256];
        weights[3] = -1.0;
        let refused = Err(Error::BadImportance {
            importances: 256,
            elements: 256,
        });
        assert_eq!(quantize(dtype, &x, bytes, Some(&weights)), refused);
        let refused = Err(Error::BadImportance {
            importances: 0,
            elements: 256,
        });
        assert_eq!(quantize(dtype, &x, bytes, Some(&[])), refused);
        let refused = Err(Error::BadImportance {
            importances: 100,
            elements: 256,
        });
        assert_eq!(quantize(dtype, &x, bytes, Some(&weights[..100])), refused);
    }
}

#[test]
fn importance_is_one_row_for_all_rows() {
    let x: Vec<f32> = (0..1024)
        .map(|i| libm::sinf(i as f32 * 0.7) * (i % 7) as f32)
        .collect();
    let importance: Vec<f32> = (0..512).map(|i| (i % 11) as f32).collect();
    for dtype in DType::all() {
        let rows = x
            .chunks(512)
            .flat_map(|row| encoded(dtype, row, Some(&importance)));
        assert_eq!(
            encoded(dtype, &x, Some(&importance)),
            rows.collect::<Vec<_>>(),
            "{dtype}"
        );
    }
}

/// Every block format but the plain floats.
fn block_formats() -> impl Iterator<Item = DType> {
    DType::all().filter(|dtype| dtype.block_len() > 1)
}

#[test]
fn important_elements_lose_less() {
    let x: Vec<f32> = (0..256).map(|i| libm::sinf(i as f32 * 1.7)).collect();
    let importance: Vec<f32> = (0..256)
        .map(|i| if i % 3 == 0 { 100.0 } else { 1.0 })
        .collect();
    let loss = |dtype, weights| {
        let y = decoded(dtype, &encoded(dtype, &x, weights));
        let errors = x
            .iter()
            .zip(&y)
            .zip(&importance)
            .map(|((x, y), w)| w * (x - y) * (x - y));
        errors.sum::<f32>()
    };
    for dtype in block_formats().filter(|&dtype| dtype != DType::Q8_0) {
        let (with, without) = (loss(dtype, Some(&importance[..])), loss(dtype, None));
        assert!(
            with <= without,
            "{dtype}: {with} with importance, {without} without"
        );
    }
}

#[test]
fn values_on_the_grid_survive() {
    // Values that were dequantized are on the grid of the format: quantizing them again has
    // almost no error.
    let x: Vec<f32> = (0..256).map(|i| libm::sinf(i as f32 * i as f32)).collect();
    for dtype in DType::all() {
        let once = decoded(dtype, &encoded(dtype, &x, None));
        let twice = decoded(dtype, &encoded(dtype, &once, None));
        let worst = once
            .iter()
            .zip(&twice)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 0.02, "{dtype}: {worst}");
    }
}

#[test]
fn zeros_stay_zeros_and_the_largest_values_stay_finite() {
    for dtype in DType::all() {
        let zeros = decoded(dtype, &encoded(dtype, &[0.0; 256], None));
        assert!(zeros.iter().all(|&y| y == 0.0), "{dtype}");
        for x in [f32::MAX, f32::MIN] {
            let y = decoded(dtype, &encoded(dtype, &[x; 256], None));
            assert!(
                y.iter()
                    .all(|y| y.is_finite() && y.abs() > 1e4 && y * x > 0.0),
                "{dtype}"
            );
        }
    }
}

/// Any finite float, from any of its magnitudes.
fn finite() -> impl Strategy<Value = f32> {
    any::<u32>()
        .prop_map(f32::from_bits)
        .prop_filter("finite", |x| x.is_finite())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn finite_values_stay_finite(
        x in proptest::collection::vec(finite(), 256),
        scale in prop::sample::select(&[1.0f32, 1e-3, 1e-38, 1e30]),
        weights in proptest::collection::vec(finite().prop_map(f32::abs), 256),
    ) {
        // Bounded magnitudes, where the whole block counts, and unbounded ones.
        let narrow: Vec<f32> = x.iter().map(|x| x.to_bits() as i32 as f32 / 2e9 * scale).collect();
        for dtype in DType::all() {
            for (x, weights) in [(&x, None), (&narrow, None), (&x, Some(&weights[..])), (&narrow, Some(&weights[..]))] {
                let y = decoded(dtype, &encoded(dtype, x, weights));
                prop_assert!(y.iter().all(|y| y.is_finite()), "{dtype}: {x:?} -> {y:?}");
            }
        }
    }

    #[test]
    fn any_bytes_decode(bytes in proptest::collection::vec(any::<u8>(), 420)) {
        for dtype in DType::all() {
            let whole = bytes.len() / dtype.block_bytes() * dtype.block_bytes();
            decoded(dtype, &bytes[..whole]);
        }
    }

    #[test]
    fn planes_pack_what_they_unpack(bytes in any::<[u8; 32]>(), more in any::<[u8; 32]>()) {
        let mut both = [0; 64];
        both[..32].copy_from_slice(&bytes);
        both[32..].copy_from_slice(&more);
        prop_assert_eq!(planes::pack1(&planes::unpack1(&bytes)), bytes);
        prop_assert_eq!(planes::pack2(&planes::unpack2(&both)), both);
        let (mut codes, mut packed) = ([0; 128], [0; 64]);
        planes::unpack4::<16>(&both, &mut codes);
        planes::pack4::<16>(&codes, &mut packed);
        prop_assert_eq!(packed, both);
    }
}

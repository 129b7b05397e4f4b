use super::*;
use proptest::prelude::*;

#[test]
fn every_prefix_is_truncated() {
    let file = sample();
    assert!(Gguf::parse(&file).is_ok());
    for len in 0..file.len() {
        match Gguf::parse(&file[..len]) {
            Err(Error::NotGguf { .. }) if len < 4 => {}
            Err(Error::Truncated { needed, have, what }) => {
                assert!(
                    len >= 4 && have == len as u64 && needed > have,
                    "{what} at {len}"
                );
                assert!(needed <= file.len() as u64, "{what} at {len}");
            }
            other => panic!("{len} bytes: {other:?}"),
        }
    }
}

#[test]
fn truncation_names_what_was_read() {
    let entry = Raw::new(3, 1, 1)
        .put("key")
        .put(4u32)
        .put(1u32)
        .tensor("t", &[8, 8], 0, 0);
    // The end of each field in bytes, and its name in the error.
    for (end, wanted) in [
        (8, "the version"),
        (16, "the number of tensors"),
        (24, "the number of metadata keys"),
        (35, "metadata key 0 of 1"),
        (39, "metadata key `key`"),
        (43, "metadata key `key`"),
        (52, "tensor 0 of 1"),
        (56, "the rank of tensor `t`"),
        (72, "the dimensions of tensor `t`"),
        (76, "the type of tensor `t`"),
        (84, "the offset of tensor `t`"),
        (entry.0.len().next_multiple_of(32) + 256, "tensor `t`"),
    ] {
        let file = Raw(entry.0.clone()).data(256).0;
        let Err(Error::Truncated { what, needed, .. }) = Gguf::parse(&file[..end - 1]) else {
            panic!("{wanted}")
        };
        assert_eq!((what.as_str(), needed), (wanted, end as u64));
    }
}

#[test]
fn counts_of_a_hostile_header_cost_nothing() {
    const HUGE: u64 = u64::MAX;
    let key = |count: u64| Raw::new(3, 0, 1).put("k").put(9u32).put(8u32).put(count);
    for file in [
        Raw::new(3, HUGE, 0),
        Raw::new(3, 0, HUGE),
        Raw::new(3, 0, 1).put("k").put(9u32).put(10u32).put(HUGE),
        Raw::new(3, 0, 1).put("k").put(9u32).put(9u32).put(HUGE),
        Raw::new(3, 0, 1).put("k").put(8u32).put(HUGE),
        key(HUGE),
        key(2).put("one").put(HUGE),
        Raw::new(3, 1, 0).tensor("t", &[1 << 40, 1 << 20], 0, 0),
    ] {
        assert!(
            matches!(file.error(), Error::Truncated { .. }),
            "{}",
            file.error()
        );
    }
}

#[test]
fn malformed_files_say_why() {
    let key = |name: &str| Raw::new(3, 0, 1).put(name);
    let nested = (0..5).fold(key("k").put(9u32), |raw, _| raw.put(9u32).put(1u64));
    let f32s = |a: u64, b: u64| {
        Raw::new(3, 2, 0)
            .tensor("a", &[8], 0, a)
            .tensor("b", &[16], 0, b)
            .data(256)
    };
    let by_one_float = Raw::new(3, 2, 0)
        .tensor("a", &[9], 0, 0)
        .tensor("b", &[8], 0, 32)
        .data(64);
    for (file, wanted) in [
        (
            Raw::new(3, 0, 2)
                .put("k")
                .put(0u32)
                .put(1u8)
                .put("k")
                .put(0u32)
                .put(1u8),
            "`k` occurs twice",
        ),
        (key(""), "a name of 0 bytes"),
        (key(&"x".repeat(65_536)), "a name of 65536 bytes"),
        (Raw::new(3, 0, 1).put(Text(b"\xff")), "not UTF-8"),
        (key("k").put(13u32), "unknown value type 13"),
        (
            key("k").put(9u32).put(99u32).put(0u64),
            "unknown value type 99",
        ),
        (key("k").put(7u32).put(2u8), "a boolean of 2"),
        (
            key("k").put(9u32).put(7u32).put(2u64).bytes(&[1, 3]),
            "a boolean of 3",
        ),
        (nested, "nests arrays more than 4 deep"),
        (
            Raw::new(3, 2, 0)
                .tensor("a", &[8], 0, 0)
                .tensor("a", &[8], 0, 32)
                .data(64),
            "`a` occurs twice",
        ),
        (
            Raw::new(3, 1, 0).tensor("", &[8], 0, 0).data(32),
            "a name of 0 bytes",
        ),
        (f32s(0, 40), "offset 40, not aligned to 32"),
        (f32s(32, 0), "`b` and `a` overlap"),
        (f32s(0, 0), "overlap"),
        (by_one_float, "`a` and `b` overlap"),
    ] {
        let Error::Malformed { reason } = file.error() else {
            panic!("{}", file.error())
        };
        assert!(reason.contains(wanted), "{reason}");
    }
    assert!(
        Gguf::parse(&f32s(64, 0).0).is_ok(),
        "tensors may lie in any order"
    );
}

#[test]
fn bad_shapes_and_types_name_the_tensor() {
    let tensor = |dims: &[u64], dtype| Raw::new(3, 1, 0).tensor("t", dims, dtype, 0).data(256);
    for (file, wanted) in [
        (tensor(&[], 0), "0 dimensions"),
        (tensor(&[1; 5], 0), "5 dimensions"),
        (tensor(&[4, 0], 0), "is zero"),
        (tensor(&[1 << 40, 1 << 40], 0), "overflow"),
        (tensor(&[1 << 62], 0), "overflow"),
        // The number of elements overflows, but that of bytes would not: an element of Q4_0
        // has about half a byte.
        (tensor(&[1 << 33, 1 << 31], 2), "overflow"),
        (
            tensor(&[48, 2], 2),
            "48 columns are not a multiple of 32, the block of Q4_0",
        ),
    ] {
        let Error::BadShape { name, reason } = file.error() else {
            panic!("{}", file.error())
        };
        assert!(name == "t" && reason.contains(wanted), "{reason}");
    }
    for (number, dtype) in [(16, "IQ2_XXS"), (999, "number 999")] {
        let wanted = Error::UnsupportedDType {
            tensor: "t".into(),
            dtype: dtype.into(),
        };
        assert_eq!(tensor(&[256], number).error(), wanted);
    }
}

#[test]
fn alignment_is_a_power_of_two_within_bounds() {
    let with = |alignment: u32| {
        Raw::new(3, 0, 1)
            .put("general.alignment")
            .put(4u32)
            .put(alignment)
    };
    for bad in [0, 1, 4, 24, 1 << 21, u32::MAX] {
        assert!(matches!(with(bad).error(), Error::BadValue { .. }), "{bad}");
    }
    for good in [8, 32, 4096, 1 << 20] {
        assert_eq!(
            Gguf::parse(&with(good).0).unwrap().alignment(),
            good as usize
        );
    }
    let text = Raw::new(3, 0, 1)
        .put("general.alignment")
        .put(8u32)
        .put("32");
    assert!(matches!(text.error(), Error::BadValue { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut file = sample();
        for (at, byte) in edits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if is_cut {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(gguf) = Gguf::parse(&file) {
            walk(&gguf);
        }
    }

    #[test]
    fn random_bytes_after_the_magic_never_panic(
        bytes in prop::collection::vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 0..200),
    ) {
        let file = Raw(b"GGUF\x03\0\0\0".to_vec()).bytes(&bytes).0;
        if let Ok(gguf) = Gguf::parse(&file) {
            walk(&gguf);
        }
    }
}

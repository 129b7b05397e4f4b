use super::*;

#[test]
fn every_kind_of_value_is_read() {
    let file = sample();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!((gguf.version(), gguf.alignment()), (3, 64));
    assert_eq!(gguf.metadata().len(), 18);
    assert_eq!(gguf.metadata()[0].0, "general.architecture");
    assert_eq!(gguf.str("general.architecture"), Ok("llama"));
    assert_eq!(gguf.get("n.u8"), Some(&Value::U8(8)));
    assert_eq!(gguf.get("n.i8"), Some(&Value::I8(-8)));
    assert_eq!(gguf.get("n.u16"), Some(&Value::U16(16)));
    assert_eq!(gguf.get("n.i16"), Some(&Value::I16(-16)));
    assert_eq!(gguf.get("n.i32"), Some(&Value::I32(-32)));
    assert_eq!(gguf.get("n.i64"), Some(&Value::I64(-64)));
    assert_eq!(gguf.get("bad.utf8"), Some(&Value::String(Text(b"\xff"))));
    assert_eq!(gguf.u64("n.u64"), Ok(u64::MAX));
    assert_eq!((gguf.f32("n.f32"), gguf.f32("n.f64")), (Ok(0.5), Ok(0.25)));
    assert_eq!(gguf.bool("n.yes"), Ok(true));

    let tokens = gguf.array("a.tokens").unwrap();
    assert_eq!((tokens.kind(), tokens.len()), (ValueKind::String, 3));
    assert_eq!(
        tokens.texts().collect::<Vec<_>>(),
        [&b"<s>"[..], b"", "온돌".as_bytes()]
    );
    let texts: Vec<_> = tokens
        .iter()
        .filter_map(|v| v.as_text()?.as_str())
        .collect();
    assert_eq!(texts, ["<s>", "", "온돌"]);
    let types = gguf.array("a.types").unwrap();
    assert_eq!(
        types.iter().filter_map(|v| v.as_i64()).collect::<Vec<_>>(),
        [3, 1, 1]
    );
    assert_eq!(types.texts().count(), 0);
    let flags = gguf.array("a.flags").unwrap();
    assert_eq!(
        flags.iter().collect::<Vec<_>>(),
        [Value::Bool(true), Value::Bool(false)]
    );
    let nested: Vec<_> = gguf.array("a.nested").unwrap().iter().collect();
    assert_eq!(
        nested[0].as_array().unwrap().texts().collect::<Vec<_>>(),
        [b"a", b"b"]
    );
    assert!(nested[1].as_array().unwrap().is_empty());
}

#[test]
fn tensors_are_found_with_their_data() {
    let file = sample();
    let gguf = Gguf::parse(&file).unwrap();
    let names: Vec<_> = gguf.tensors().iter().map(|t| t.name).collect();
    assert_eq!(names, ["weight", "bias", "cube"]);
    let weight = gguf.tensor("weight").unwrap();
    assert_eq!(
        (weight.dims(), weight.cols(), weight.rows()),
        (&[64, 3][..], 64, 3)
    );
    assert_eq!(
        (weight.dtype, weight.elements(), weight.shard),
        (DType::Q4_0, 192, 0)
    );
    assert_eq!(weight.data, (0..108).collect::<Vec<u8>>());
    assert_eq!(
        weight.data.as_ptr(),
        file[weight.offset as usize..].as_ptr()
    );
    let cube = gguf.tensor("cube").unwrap();
    assert_eq!((cube.cols(), cube.rows(), cube.data), (2, 16, &[9; 64][..]));
    assert_eq!(cube.offset % 64, 0);
    assert!(gguf.tensor("nothing").is_none());
}

#[test]
fn getters_tell_missing_from_wrong() {
    let file = sample();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(
        gguf.u32("nothing"),
        Err(Error::MissingKey {
            key: "nothing".into()
        })
    );
    assert_eq!(gguf.opt_u32("nothing"), Ok(None));
    assert_eq!((gguf.u32("n.u8"), gguf.u32("n.u16")), (Ok(8), Ok(16)));
    let reasons = [
        (
            gguf.u32("n.i8").unwrap_err(),
            "expected an integer of 0..2^32, found i8 -8",
        ),
        (
            gguf.opt_u64("n.i64").unwrap_err(),
            "expected an integer of 0..2^64, found i64 -64",
        ),
        (
            gguf.f32("n.u8").unwrap_err(),
            "expected a float in f32's range, found u8 8",
        ),
        (
            gguf.opt_str("bad.utf8").unwrap_err(),
            "expected a UTF-8 string, found string",
        ),
        (
            gguf.bool("a.flags").unwrap_err(),
            "expected a boolean, found array",
        ),
        (
            gguf.array("n.yes").unwrap_err(),
            "expected an array, found bool true",
        ),
    ];
    for (error, wanted) in reasons {
        assert!(
            matches!(error, Error::BadValue { ref reason, .. } if reason == wanted),
            "{error}"
        );
    }
    assert!(gguf.u32("n.u64").is_err(), "u64::MAX is no u32");
}

#[test]
fn floats_past_the_range_of_f32_are_refused() {
    assert_eq!(Value::F64(1e300).as_f32(), None);
    assert_eq!(Value::F64(f64::INFINITY).as_f32(), Some(f32::INFINITY));
    assert!(Value::F64(f64::NAN).as_f32().unwrap().is_nan());
}

#[test]
fn a_vocabulary_alone_parses() {
    let mut writer = Writer::new();
    writer.set("tokenizer.ggml.tokens", vec!["a"; 3]);
    let file = writer.to_vec(&[]).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    assert!(gguf.tensors().is_empty());
    assert_eq!(gguf.array("tokenizer.ggml.tokens").unwrap().len(), 3);
}

#[test]
fn version_2_is_read_and_others_are_refused_by_name() {
    assert_eq!(Gguf::parse(&Raw::new(2, 0, 0).0).unwrap().version(), 2);
    for (version, found) in [
        (1, "1, whose lengths have 32 bits"),
        (4, "4"),
        (0, "0"),
        (3u32.swap_bytes(), "3, big-endian"),
    ] {
        let wanted = Error::UnsupportedVersion {
            found: found.into(),
        };
        assert_eq!(Raw::new(version, 0, 0).error(), wanted);
    }
}

#[test]
fn other_files_are_called_by_their_name() {
    let safetensors = Raw(Vec::new()).put(70u64).bytes(b"{\"a\":").0;
    for (bytes, wanted) in [
        (&b""[..], "an empty file"),
        (b"\n <!DOCTYPE HTML><html>", "an HTML page"),
        (b"<html lang=ko>", "an HTML page"),
        (b"PK\x03\x04\0\0", "a ZIP archive"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"tjgg\x03\0\0\0", "a GGJT file"),
        (b"lmgg\x03\0\0\0", "a GGML file"),
        (
            b"version https://git-lfs.github.com/spec/v1",
            "a Git LFS pointer",
        ),
        (&safetensors, "a safetensors file"),
        (b"GG", "its first bytes are 47 47"),
        (
            b"\x00\x01\x02\x03\x04\x05\x06\x07\x08",
            "its first bytes are 00 01 02 03 04 05 06 07",
        ),
    ] {
        let Err(Error::NotGguf { found }) = Gguf::parse(bytes) else {
            panic!("{wanted}")
        };
        assert!(found.starts_with(wanted), "{found}");
    }
}

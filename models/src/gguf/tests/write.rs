use super::*;
use proptest::prelude::*;

/// The file, read by the reader and written again by the writer.
fn rewritten(file: &[u8]) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut writer = Writer::with_metadata_of(&gguf);
    for tensor in gguf.tensors() {
        writer
            .add_tensor(tensor.name, tensor.dtype, tensor.dims())
            .unwrap();
    }
    let data: Vec<&[u8]> = gguf.tensors().iter().map(|t| t.data).collect();
    writer.to_vec(&data).unwrap()
}

#[test]
fn a_file_is_rewritten_byte_for_byte() {
    let file = sample();
    assert_eq!(rewritten(&file), file);
    let old = Raw::new(2, 0, 1).put("k").put(0u32).put(1u8).0;
    assert_eq!(rewritten(&old), old, "the version is kept");
}

/// The specification's layout of one key and one tensor, spelled out.
#[test]
fn bytes_are_those_of_the_specification() {
    let mut writer = Writer::new();
    writer.set("k", "v");
    writer.add_tensor("t", DType::F32, &[3, 1]).unwrap();
    let mut wanted = b"GGUF\x03\0\0\0".to_vec();
    wanted.extend(b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
    wanted.extend(b"\x01\0\0\0\0\0\0\0k\x08\0\0\0\x01\0\0\0\0\0\0\0v");
    wanted.extend(b"\x01\0\0\0\0\0\0\0t\x02\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
    wanted.extend(b"\0\0\0\0\0\0\0\0\0\0\0\0");
    wanted.resize(96, 0);
    wanted.extend([5; 12]);
    wanted.resize(128, 0);
    assert_eq!(writer.to_vec(&[&[5; 12]]).unwrap(), wanted);
}

#[test]
fn keys_are_replaced_in_place_and_removed() {
    let mut writer = Writer::new();
    writer.set("a", 1u32);
    writer.set("b", 2u32);
    writer.set("a", "three");
    let file = writer.to_vec(&[]).unwrap();
    let keys: Vec<_> = Gguf::parse(&file).unwrap().metadata().to_vec();
    assert_eq!(
        keys,
        [("a", Value::String(Text(b"three"))), ("b", Value::U32(2))]
    );
    writer.remove("a");
    let file = writer.to_vec(&[]).unwrap();
    assert_eq!(
        Gguf::parse(&file).unwrap().metadata(),
        [("b", Value::U32(2))]
    );
}

#[cfg(feature = "std")]
#[test]
fn streaming_gives_the_same_file_and_checks_the_data() {
    let mut writer = Writer::new();
    writer.set("general.alignment", 16u32);
    writer.add_tensor("a", DType::F32, &[3]).unwrap();
    writer.add_tensor("b", DType::F16, &[8]).unwrap();
    let mut stream = writer.stream(Vec::new()).unwrap();
    stream.tensor(&[1; 12]).unwrap();
    stream.tensor(&[2; 16]).unwrap();
    assert_eq!(
        stream.tensor(&[]).unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput
    );
    assert_eq!(
        stream.finish().unwrap(),
        writer.to_vec(&[&[1; 12], &[2; 16]]).unwrap()
    );

    let mut short = writer.stream(Vec::new()).unwrap();
    assert!(
        short
            .tensor(&[1; 11])
            .unwrap_err()
            .to_string()
            .contains("needs 12 bytes, 11 were")
    );
    let unfinished = writer.stream(Vec::new()).unwrap();
    assert!(
        unfinished
            .finish()
            .unwrap_err()
            .to_string()
            .contains("`a` is missing")
    );
}

#[test]
fn what_the_reader_refuses_is_not_written() {
    let refused = |edit: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        edit(&mut writer);
        writer.header().unwrap_err()
    };
    let nested = vec![vec![vec![vec![vec![1u8]]]]];
    assert!(matches!(
        refused(&|w| w.set("", 1u8)),
        Error::Malformed { .. }
    ));
    assert!(matches!(
        refused(&|w| w.set("k", nested.clone())),
        Error::BadValue { .. }
    ));
    assert!(matches!(
        refused(&|w| w.set("general.alignment", 12u32)),
        Error::BadValue { .. }
    ));
    assert!(matches!(
        refused(&|w| w.set("general.alignment", "x")),
        Error::BadValue { .. }
    ));
    let twice = |w: &mut Writer| {
        w.add_tensor("t", DType::F32, &[1]).unwrap();
        w.add_tensor("t", DType::F32, &[1]).unwrap();
    };
    assert!(matches!(refused(&twice), Error::Malformed { .. }));
    let mut writer = Writer::new();
    assert!(matches!(
        writer.add_tensor("t", DType::Q8_0, &[33]),
        Err(Error::BadShape { .. })
    ));
    writer.add_tensor("t", DType::F32, &[1]).unwrap();
    assert!(matches!(
        writer.to_vec(&[]),
        Err(Error::MissingTensor { .. })
    ));
    assert!(matches!(
        writer.to_vec(&[&[0; 4], &[]]),
        Err(Error::Malformed { .. })
    ));
}

fn any_value() -> impl Strategy<Value = MetaValue> {
    prop_oneof![
        any::<u8>().prop_map(MetaValue::from),
        any::<i16>().prop_map(MetaValue::from),
        any::<u32>().prop_map(MetaValue::from),
        any::<i64>().prop_map(MetaValue::from),
        any::<f32>().prop_map(MetaValue::from),
        any::<f64>().prop_map(MetaValue::from),
        any::<bool>().prop_map(MetaValue::from),
        any::<String>().prop_map(MetaValue::from),
        any::<Vec<bool>>().prop_map(MetaValue::from),
        any::<Vec<i32>>().prop_map(MetaValue::from),
        any::<Vec<String>>().prop_map(MetaValue::from),
        any::<Vec<Vec<String>>>().prop_map(MetaValue::from),
    ]
}

fn any_tensor() -> impl Strategy<Value = (DType, Vec<u64>)> {
    let dtypes: Vec<DType> = DType::all().collect();
    (
        prop::sample::select(dtypes),
        prop::collection::vec(1u64..4, 1..=4),
    )
        .prop_map(|(dtype, mut dims)| {
            dims[0] *= dtype.block_len() as u64;
            (dtype, dims)
        })
}

proptest! {
    #[test]
    fn written_files_are_read_and_rewritten_alike(
        metadata in prop::collection::vec(any_value(), 0..8),
        tensors in prop::collection::vec(any_tensor(), 0..5),
        alignment in prop::sample::select(vec![8u32, 32, 256]),
        fill in any::<u8>(),
    ) {
        let mut writer = Writer::new();
        for (i, value) in metadata.iter().enumerate() {
            writer.set(&format!("key.{i}"), value.clone());
        }
        writer.set("general.alignment", alignment);
        let mut data = Vec::new();
        for (i, (dtype, dims)) in tensors.iter().enumerate() {
            writer.add_tensor(&format!("tensor.{i}"), *dtype, dims).unwrap();
            let rows: u64 = dims[1..].iter().product();
            let len = dtype.row_bytes(dims[0] as usize).unwrap() * rows as usize;
            data.push(vec![fill.wrapping_add(i as u8); len]);
        }
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let file = writer.to_vec(&data).unwrap();

        let gguf = Gguf::parse(&file).unwrap();
        walk(&gguf);
        prop_assert_eq!(gguf.alignment(), alignment as usize);
        for (i, value) in metadata.iter().enumerate() {
            // NaN is not equal to itself, its bits are.
            let read = gguf.get(&format!("key.{i}")).map(|v| MetaValue::from(*v));
            prop_assert_eq!(read.as_ref(), Some(value));
        }
        for ((tensor, (dtype, dims)), data) in gguf.tensors().iter().zip(&tensors).zip(data) {
            prop_assert_eq!((tensor.dtype, tensor.dims()), (*dtype, &dims[..]));
            prop_assert_eq!(tensor.data, data);
        }
        prop_assert_eq!(rewritten(&file), file);
    }
}

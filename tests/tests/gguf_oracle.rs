//! The container against two independent readers, the crates `gguf` and
//! `candle-core`, and against a file that `candle-core` wrote.
//!
//! With folders of models in `ONDOL_TEST_MODELS` (separated as in `PATH`), real
//! files go through the same comparisons.

use std::io::Cursor;
use std::path::PathBuf;

use candle_core::quantized::gguf_file::{self, Content, Value as CandleValue};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use gguf::{GGUFFile, GGUFMetadataValue as CrateValue};
use ondol_models::gguf::{Gguf, Value, Writer};
use ondol_models::quant::DType;

/// Types that all three readers know.
const DTYPES: [DType; 12] = [
    DType::F32,
    DType::F16,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q8_0,
    DType::Q2_K,
    DType::Q3_K,
    DType::Q4_K,
    DType::Q5_K,
    DType::Q6_K,
];

/// A file of ours with every kind of value and every type of [`DTYPES`].
fn ours() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    writer.set("u8", u8::MAX);
    writer.set("i8", i8::MIN);
    writer.set("u16", u16::MAX);
    writer.set("i16", i16::MIN);
    writer.set("u32", u32::MAX);
    writer.set("i32", i32::MIN);
    writer.set("u64", u64::MAX);
    writer.set("i64", i64::MIN);
    writer.set("f32", -0.1f32);
    writer.set("f64", 0.1f64);
    writer.set("bool", true);
    writer.set("text", "온돌 🔥");
    writer.set("tokens", &["<s>", "", "▁온", "돌"][..]);
    writer.set("scores", vec![0.5f32, -1000.0]);
    writer.set("flags", vec![true, false]);
    writer.set("nested", vec![vec!["a b", "c"], vec![], vec!["d"]]);
    let mut data = Vec::new();
    for (i, dtype) in DTYPES.into_iter().enumerate() {
        let dims = [512, 3, 2];
        writer
            .add_tensor(&format!("blk.{i}.weight"), dtype, &dims[..=i % 3])
            .unwrap();
        let rows: u64 = dims[1..=i % 3].iter().product();
        let len = dtype.row_bytes(512).unwrap() * rows as usize;
        data.push((0..len).map(|at| (at * 7 + i) as u8).collect::<Vec<u8>>());
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    writer.to_vec(&data).unwrap()
}

/// A file of candle's.
fn candles() -> Vec<u8> {
    let metadata = [
        ("general.architecture", CandleValue::String("qwen2".into())),
        ("block_count", CandleValue::U32(24)),
        ("eps", CandleValue::F32(1e-6)),
        ("tied", CandleValue::Bool(false)),
        (
            "merges",
            CandleValue::Array(vec![CandleValue::String("a b".into()); 3]),
        ),
    ];
    let weights: Vec<f32> = (0..2 * 512).map(|i| (i as f32 * 0.37).sin()).collect();
    let weights = Tensor::from_vec(weights, (2, 512), &Device::Cpu).unwrap();
    let tensors = [
        GgmlDType::F32,
        GgmlDType::Q4_0,
        GgmlDType::Q6K,
        GgmlDType::BF16,
    ]
    .map(|dtype| {
        (
            format!("{dtype:?}"),
            QTensor::quantize(&weights, dtype).unwrap(),
        )
    });
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut out = Cursor::new(Vec::new());
    gguf_file::write(&mut out, &metadata, &tensors).unwrap();
    out.into_inner()
}

fn same_as_crate(ours: Value<'_>, theirs: &CrateValue) -> bool {
    match (ours, theirs) {
        (Value::U8(a), CrateValue::Uint8(b)) => a == *b,
        (Value::I8(a), CrateValue::Int8(b)) => a == *b,
        (Value::U16(a), CrateValue::Uint16(b)) => a == *b,
        (Value::I16(a), CrateValue::Int16(b)) => a == *b,
        (Value::U32(a), CrateValue::Uint32(b)) => a == *b,
        (Value::I32(a), CrateValue::Int32(b)) => a == *b,
        (Value::U64(a), CrateValue::Uint64(b)) => a == *b,
        (Value::I64(a), CrateValue::Int64(b)) => a == *b,
        (Value::F32(a), CrateValue::Float32(b)) => a.to_bits() == b.to_bits(),
        (Value::F64(a), CrateValue::Float64(b)) => a.to_bits() == b.to_bits(),
        (Value::Bool(a), CrateValue::Bool(b)) => a == *b,
        (Value::String(a), CrateValue::String(b)) => a.0 == b.as_bytes(),
        (Value::Array(a), CrateValue::Array(b)) => {
            a.kind() as u32 == b.value_type as u32
                && a.len() == b.value.len()
                && a.iter().zip(&b.value).all(|(a, b)| same_as_crate(a, b))
        }
        _ => false,
    }
}

fn same_as_candle(ours: Value<'_>, theirs: &CandleValue) -> bool {
    match (ours, theirs) {
        (Value::U8(a), CandleValue::U8(b)) => a == *b,
        (Value::I8(a), CandleValue::I8(b)) => a == *b,
        (Value::U16(a), CandleValue::U16(b)) => a == *b,
        (Value::I16(a), CandleValue::I16(b)) => a == *b,
        (Value::U32(a), CandleValue::U32(b)) => a == *b,
        (Value::I32(a), CandleValue::I32(b)) => a == *b,
        (Value::U64(a), CandleValue::U64(b)) => a == *b,
        (Value::I64(a), CandleValue::I64(b)) => a == *b,
        (Value::F32(a), CandleValue::F32(b)) => a.to_bits() == b.to_bits(),
        (Value::F64(a), CandleValue::F64(b)) => a.to_bits() == b.to_bits(),
        (Value::Bool(a), CandleValue::Bool(b)) => a == *b,
        // Candle drops NULs at the end, and what is not UTF-8.
        (Value::String(a), CandleValue::String(b)) => {
            a.to_string_lossy().trim_end_matches('\0') == *b
        }
        (Value::Array(a), CandleValue::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_as_candle(a, b))
        }
        _ => false,
    }
}

fn compare_with_crate(file: &[u8]) {
    let ours = Gguf::parse(file).unwrap();
    let theirs = GGUFFile::read(file)
        .unwrap()
        .expect("the crate asks for more bytes");
    assert_eq!(ours.version(), theirs.header.version);
    assert_eq!(ours.metadata().len(), theirs.header.metadata.len());
    for ((key, value), entry) in ours.metadata().iter().zip(&theirs.header.metadata) {
        assert_eq!(*key, entry.key);
        assert!(same_as_crate(*value, &entry.value), "{key}");
    }
    assert_eq!(ours.tensors().len(), theirs.tensors.len());
    // Theirs are offsets in the data section, which begins with the first tensor.
    let data_start = ours.tensors().iter().map(|t| t.offset).min().unwrap_or(0);
    for (tensor, theirs) in ours.tensors().iter().zip(&theirs.tensors) {
        assert_eq!(
            (tensor.name, tensor.dims()),
            (&theirs.name[..], &theirs.dimensions[..])
        );
        assert_eq!(tensor.dtype as u32, theirs.tensor_type as u32);
        assert_eq!(tensor.offset - data_start, theirs.offset);
    }
}

fn compare_with_candle(file: &[u8]) {
    let ours = Gguf::parse(file).unwrap();
    let mut reader = Cursor::new(file);
    let theirs = Content::read(&mut reader).unwrap();
    assert_eq!(ours.metadata().len(), theirs.metadata.len());
    for (key, value) in ours.metadata() {
        assert!(same_as_candle(*value, &theirs.metadata[*key]), "{key}");
    }
    assert_eq!(ours.tensors().len(), theirs.tensor_infos.len());
    for tensor in ours.tensors() {
        let info = &theirs.tensor_infos[tensor.name];
        let dims: Vec<u64> = info.shape.dims().iter().rev().map(|d| *d as u64).collect();
        assert_eq!(tensor.dims(), dims);
        assert_eq!(tensor.offset, theirs.tensor_data_offset + info.offset);
        assert_eq!(tensor.dtype.block_len(), info.ggml_dtype.block_size());
        assert_eq!(tensor.dtype.block_bytes(), info.ggml_dtype.type_size());
        let data = theirs
            .tensor(&mut reader, tensor.name, &Device::Cpu)
            .unwrap();
        assert!(
            *tensor.data == *data.data().unwrap(),
            "the data of {}",
            tensor.name
        );
    }
}

fn compare_with_itself_rewritten(file: &[u8]) {
    let gguf = Gguf::parse(file).unwrap();
    let mut writer = Writer::with_metadata_of(&gguf);
    for tensor in gguf.tensors() {
        writer
            .add_tensor(tensor.name, tensor.dtype, tensor.dims())
            .unwrap();
    }
    let mut stream = writer.stream(Vec::with_capacity(file.len())).unwrap();
    for tensor in gguf.tensors() {
        stream.tensor(tensor.data).unwrap();
    }
    assert!(stream.finish().unwrap() == file, "the file is not the same");
}

#[test]
fn others_read_what_we_write() {
    let file = ours();
    compare_with_crate(&file);
    compare_with_candle(&file);
}

#[test]
fn we_read_what_candle_writes_and_write_the_same() {
    let file = candles();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(
        (gguf.version(), gguf.str("general.architecture")),
        (2, Ok("qwen2"))
    );
    let dtypes: Vec<_> = gguf.tensors().iter().map(|t| t.dtype).collect();
    assert_eq!(dtypes, [DType::F32, DType::Q4_0, DType::Q6_K, DType::BF16]);
    compare_with_candle(&file);
    compare_with_itself_rewritten(&file);
}

#[test]
fn real_files_are_read_and_rewritten_alike() {
    let files = real_files();
    if files.is_empty() {
        eprintln!("SKIPPED: no .gguf file in the folders of ONDOL_TEST_MODELS");
    }
    for path in files {
        eprintln!("{}", path.display());
        let file = std::fs::read(&path).unwrap();
        compare_with_itself_rewritten(&file);
        compare_with_crate(&file);
        compare_with_candle(&file);
    }
}

fn real_files() -> Vec<PathBuf> {
    let folders = std::env::var_os("ONDOL_TEST_MODELS").unwrap_or_default();
    std::env::split_paths(&folders)
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "gguf")
        })
        .collect()
}

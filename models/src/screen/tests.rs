use super::*;
use crate::gguf::Writer;
use alloc::string::ToString;
use proptest::prelude::*;

const ROWS: usize = 64;
const COLS: usize = 32;

/// A `llama` file of one layer with zero weights, whose output head is the embedding table in
/// Q8_0, with these tensors added.
fn model(tensors: &[(&str, DType, &[u64], Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    for (key, value) in [
        ("block_count", 1u32),
        ("context_length", 16),
        ("embedding_length", COLS as u32),
        ("feed_forward_length", 32),
        ("attention.head_count", 4),
    ] {
        writer.set(&format!("llama.{key}"), value);
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    let (mut data, mut add) = (
        Vec::new(),
        |name: &str, dtype: DType, dims: &[u64], bytes| {
            writer.add_tensor(name, dtype, dims).unwrap();
            bytes
        },
    );
    let zeros = |dtype: DType, dims: &[u64]| {
        let rows: u64 = dims[1..].iter().product();
        vec![0; dtype.row_bytes(dims[0] as usize).unwrap() * rows as usize]
    };
    let table = [COLS as u64, ROWS as u64];
    data.push(add(
        "token_embd.weight",
        DType::Q8_0,
        &table,
        zeros(DType::Q8_0, &table),
    ));
    for name in [
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ] {
        let name = format!("blk.0.{name}.weight");
        let dims = [COLS as u64, 32];
        data.push(add(&name, DType::Q4_0, &dims, zeros(DType::Q4_0, &dims)));
    }
    for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"] {
        let dims = [COLS as u64];
        data.push(add(
            &format!("{name}.weight"),
            DType::F32,
            &dims,
            zeros(DType::F32, &dims),
        ));
    }
    for (name, dtype, dims, bytes) in tensors {
        data.push(add(name, *dtype, dims, bytes.clone()));
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    writer.to_vec(&data).unwrap()
}

fn find(tensors: &[(&str, DType, &[u64], Vec<u8>)]) -> Result<Option<Screen>> {
    let file = model(tensors);
    let gguf = Gguf::parse(&file).unwrap();
    Screen::find(&gguf, &crate::arch::build(&gguf).unwrap())
}

fn copy() -> Vec<u8> {
    vec![0; ROWS * 18]
}

fn errors(e: f32) -> Vec<u8> {
    e.to_le_bytes().repeat(ROWS)
}

const TABLE: [u64; 2] = [COLS as u64, ROWS as u64];
const VECTOR: [u64; 1] = [ROWS as u64];

#[test]
fn a_screen_is_found_where_it_fits() {
    assert_eq!(find(&[]), Ok(None));
    let found = find(&[
        (WEIGHT, DTYPE, &TABLE, copy()),
        (ERROR, DType::F32, &VECTOR, errors(0.5)),
    ]);
    let screen = found.unwrap().unwrap();
    assert_eq!((screen.weight.rows, screen.weight.cols), (ROWS, COLS));
    assert_eq!((screen.error.rows, screen.error.cols), (1, ROWS));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refused =
        |tensors: &[(&str, DType, &[u64], Vec<u8>)]| find(tensors).unwrap_err().to_string();
    let good_copy = (WEIGHT, DTYPE, &TABLE[..], copy());
    let good_errors = (ERROR, DType::F32, &VECTOR[..], errors(0.5));
    let half = refused(std::slice::from_ref(&good_copy));
    assert!(half.contains("`ondol.screen.error` is missing"), "{half}");
    let half = refused(std::slice::from_ref(&good_errors));
    assert!(half.contains("`ondol.screen.weight` is missing"), "{half}");
    for (dtype, dims) in [
        (DType::Q4_1, [32, 64]),
        (DTYPE, [32, 63]),
        (DTYPE, [64, 32]),
        (DType::Q8_0, [32, 64]),
    ] {
        let bytes = vec![0; dtype.row_bytes(dims[0] as usize).unwrap() * dims[1] as usize];
        let said = refused(&[(WEIGHT, dtype, &dims, bytes), good_errors.clone()]);
        assert!(
            said.contains("`ondol.screen.weight`") && said.contains("32 x 64"),
            "{said}"
        );
    }
    for (dtype, dims) in [
        (DType::F16, &[64][..]),
        (DType::F32, &[63]),
        (DType::F32, &[1, 64]),
    ] {
        let bytes = vec![
            0;
            dtype
                .row_bytes(dims.iter().product::<u64>() as usize)
                .unwrap()
        ];
        let said = refused(&[good_copy.clone(), (ERROR, dtype, dims, bytes)]);
        assert!(said.contains("`ondol.screen.error`"), "{said}");
    }
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let said = refused(&[good_copy.clone(), (ERROR, DType::F32, &VECTOR, errors(bad))]);
        assert!(
            said.contains("the error of row 0 is negative or not finite"),
            "{said}"
        );
    }
}

#[test]
fn only_a_large_head_of_many_bits_gains() {
    let file = model(&[]);
    let mut graph = crate::arch::build(&Gguf::parse(&file).unwrap()).unwrap();
    assert_eq!(gains(&graph), None, "it is small");
    let logits = graph.logits.0 as usize;
    let mut head = |dtype, rows| {
        let Op::MatMul { weight, .. } = &mut graph.nodes[logits].op else {
            panic!("no matmul");
        };
        (weight.dtype, weight.rows) = (dtype, rows);
        gains(&graph).is_some()
    };
    assert!(head(DType::Q8_0, 1 << 16));
    assert!(head(DType::F16, 1 << 16));
    assert!(!head(DType::F16, 1 << 10), "it is small");
    assert!(!head(DType::Q4_0, 1 << 16), "there is nothing to save");
    assert!(!head(DType::Q4_1, 1 << 16), "there is little to save");
}

#[test]
fn a_row_that_is_not_finite_is_always_scored() {
    let mut row = DType::F32.row_bytes(32).map(|n| vec![0; n]).unwrap();
    row[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut out = [1; 18];
    let error = Copier::new(DType::F32, 32).row(&row, &mut out);
    assert_eq!(error, Ok(f32::MAX));
    let mut copy = [1.0; 32];
    quant::dequantize(DTYPE, &out, &mut copy).unwrap();
    assert_eq!(copy, [0.0; 32]);
}

proptest! {
    #[test]
    fn the_error_is_the_distance_of_row_and_copy(
        row in prop::collection::vec(-3.0f32..3.0, 64), exact in any::<bool>(),
    ) {
        // Rows of small whole numbers too, some of which are copied without an error.
        let row: Vec<f32> = row.iter().map(|x| if exact { libm::roundf(*x) } else { *x }).collect();
        let bytes: Vec<u8> = row.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut out = [0; 36];
        let error = f64::from(Copier::new(DType::F32, 64).row(&bytes, &mut out).unwrap());
        let mut copy = [0.0; 64];
        quant::dequantize(DTYPE, &out, &mut copy).unwrap();
        let distance = row.iter().zip(copy).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>().sqrt();
        let size = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        prop_assert!(error >= distance, "{error} < {distance}");
        prop_assert!(error <= distance * 1.001 + size * 0.001 + 1e-30, "{error} > {distance}");
        // So, by the inequality of Cauchy and Schwarz, the error times the norm of an input
        // bounds the difference of the two scores. Here the input is 64 ones, of norm 8.
        let score = |w: &[f32]| w.iter().sum::<f32>();
        prop_assert!(f64::from((score(&row) - score(&copy)).abs()) <= error * 8.0 + 1e-3);
    }
}

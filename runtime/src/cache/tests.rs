//! Sequences of toy models that keep every kind of state.

use crate::cpu::pass::{Input, Phase};
use crate::{CancelToken, Error, Isa, KvType, Model, Session, SessionOptions, SnapshotError};
use ondol_models::gguf::{Gguf, Writer};
use ondol_models::graph::{Activation, Attention, Builder, Graph, LinearAttention, ValueId};
use ondol_models::quant::{self, DType};
use std::vec::Vec;

const TAPS: usize = 4;
const WINDOW: usize = 40;
const HEADS: usize = 4;
const KEY_DIM: usize = 8;

/// Numbers of no pattern.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// The built-in model's vocabulary and a table of floats, its first attention where
/// `attends`, and a convolution where `convolves`.
fn file(attends: bool, convolves: bool) -> Vec<u8> {
    let gguf = Gguf::parse(Model::hello_bytes()).unwrap();
    let mut writer = Writer::with_metadata_of(&gguf);
    let table = gguf.tensor("token_embd.weight").unwrap();
    let (rows, width) = (table.rows(), table.cols());
    let mut floats = std::vec![0.0; rows * width];
    quant::dequantize(table.dtype, table.data, &mut floats).unwrap();
    let mut tensors: Vec<(&str, DType, Vec<u64>, Vec<u8>)> = Vec::new();
    let bytes = |floats: &[f32]| floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    let dims = std::vec![width as u64, rows as u64];
    tensors.push(("token_embd.weight", DType::F32, dims, bytes(&floats)));
    for name in ["attn_q", "attn_k", "attn_v", "attn_output"] {
        if !attends {
            break;
        }
        let name = std::format!("blk.0.{name}.weight");
        let tensor = gguf.tensor(&name).unwrap();
        let dims = tensor.dims().to_vec();
        tensors.push((tensor.name, tensor.dtype, dims, tensor.data.to_vec()));
    }
    let taps = noise(width * TAPS, 3);
    let dims = std::vec![TAPS as u64, width as u64];
    if convolves {
        tensors.push(("conv.weight", DType::F32, dims, bytes(&taps)));
    }
    for (name, dtype, dims, _) in &tensors {
        writer.add_tensor(name, *dtype, dims).unwrap();
    }
    let data: Vec<&[u8]> = tensors.iter().map(|(.., data)| &data[..]).collect();
    writer.to_vec(&data).unwrap()
}

type Part = fn(&mut Builder, ValueId) -> ondol_models::Result<ValueId>;

/// Linear attention whose operands are columns of its input: the query, the key, then a
/// number for each head's decay and a number for its beta.
fn linear(b: &mut Builder, x: ValueId) -> ondol_models::Result<ValueId> {
    let width = b.width(x);
    let mut take = |first: usize, count: usize| b.take(x, width, first..first + count);
    let (q, k) = (take(0, KEY_DIM), take(KEY_DIM, KEY_DIM));
    let decay = take(2 * KEY_DIM, HEADS);
    let beta = take(2 * KEY_DIM + HEADS, HEADS);
    let decay = b.activate(decay, Activation::Softplus);
    let decay = b.scale(decay, -1.0);
    let beta = b.activate(beta, Activation::Sigmoid);
    let linear = LinearAttention {
        slot: 0,
        heads: HEADS,
        key_heads: 1,
        key_dim: KEY_DIM,
        value_dim: width / HEADS,
        interleaved: false,
        delta: true,
    };
    Ok(b.linear_attention([q, k, x], decay, beta, linear))
}

fn conv(b: &mut Builder, x: ValueId) -> ondol_models::Result<ValueId> {
    b.enter(None);
    b.conv(x, "conv", TAPS)
}

fn attention(b: &mut Builder, x: ValueId) -> ondol_models::Result<ValueId> {
    windowed(b, x, None)
}

fn window(b: &mut Builder, x: ValueId) -> ondol_models::Result<ValueId> {
    windowed(b, x, Some(WINDOW))
}

fn windowed(b: &mut Builder, x: ValueId, window: Option<usize>) -> ondol_models::Result<ValueId> {
    b.enter(Some(0));
    let width = b.width(x);
    let heads = b.size("attention.head_count")?;
    let kv_heads = b.size("attention.head_count_kv")?;
    let head_dim = width / heads;
    let q = b.linear(x, "attn_q", width)?;
    let k = b.linear(x, "attn_k", kv_heads * head_dim)?;
    let v = b.linear(x, "attn_v", kv_heads * head_dim)?;
    let attention = Attention {
        slot: 0,
        heads,
        kv_heads,
        head_dim,
        scale: 0.3,
        softcap: None,
        sinks: None,
        window,
    };
    let y = b.attention(q, k, v, attention);
    let y = b.linear(y, "attn_output", width)?;
    Ok(b.add(x, y))
}

/// The graphs, by what they keep, in their order: with a state before and after the last
/// attention, and without any attention.
const GRAPHS: [(&str, &[Part]); 6] = [
    ("linear", &[linear]),
    ("conv", &[conv]),
    ("linear, attention", &[linear, attention]),
    ("attention, linear, conv", &[attention, linear, conv]),
    ("window, attention", &[window, attention]),
    ("conv, window, linear", &[conv, window, linear]),
];

fn model(parts: &[Part]) -> Model {
    let build = |gguf: &Gguf| -> ondol_models::Result<Graph> {
        let mut b = Builder::new(gguf)?;
        let width = b.size("embedding_length")?;
        let mut x = b.embed(width, 1.0)?;
        for part in parts {
            x = part(&mut b, x)?;
        }
        b.enter(None);
        let logits = b.head(x)?;
        b.finish(logits)
    };
    let has = |part: Part| parts.iter().any(|&p| core::ptr::fn_addr_eq(p, part));
    let bytes = file(has(attention) || has(window), has(conv));
    Model::with_graph(bytes, build).unwrap()
}

fn options() -> SessionOptions {
    SessionOptions {
        threads: Some(2),
        context: Some(512),
        prefill_chunk: 24,
        batch: 4,
        ..SessionOptions::default()
    }
}

fn tokens(count: usize, seed: usize) -> Vec<u32> {
    (0..count)
        .map(|i| ((seed + i * 7) % 290) as u32 + 3)
        .collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

fn prefill(session: &mut Session, tokens: &[u32]) -> Vec<u32> {
    bits(session.prefill(tokens, &CancelToken::new()).unwrap())
}

fn decode(session: &mut Session, tokens: &[u32]) -> Vec<Vec<u32>> {
    let logits = tokens.iter().map(|&t| bits(session.decode(t).unwrap()));
    logits.collect()
}

/// The formulas of the convolution and of linear attention, in f64.
#[test]
fn states_are_what_their_formulas_say() {
    let bytes = file(false, true);
    let gguf = Gguf::parse(&bytes).unwrap();
    let floats = |name: &str| {
        let tensor = gguf.tensor(name).unwrap();
        let (numbers, _) = tensor.data.as_chunks::<4>();
        let numbers: Vec<f64> = numbers
            .iter()
            .map(|x| f64::from(f32::from_le_bytes(*x)))
            .collect();
        (numbers, tensor.cols())
    };
    let ((table, width), (taps, _)) = (floats("token_embd.weight"), floats("conv.weight"));
    let tokens = tokens(60, 1);
    let row = |t: usize| &table[tokens[t] as usize * width..][..width];
    let of_linear = |column: usize| {
        let head = column / (width / HEADS);
        let mut state = [0.0; KEY_DIM];
        let mut y = 0.0;
        for t in 0..tokens.len() {
            let x = row(t);
            let (q, k) = (&x[..KEY_DIM], &x[KEY_DIM..2 * KEY_DIM]);
            let decay = (-(1.0 + x[2 * KEY_DIM + head].exp()).ln()).exp();
            let beta = 1.0 / (1.0 + (-x[2 * KEY_DIM + HEADS + head]).exp());
            state.iter_mut().for_each(|s| *s *= decay);
            let recalled: f64 = state.iter().zip(k).map(|(s, k)| s * k).sum();
            let stored = beta * (x[column] - recalled);
            state.iter_mut().zip(k).for_each(|(s, k)| *s += k * stored);
            y = state.iter().zip(q).map(|(s, q)| s * q).sum();
        }
        y
    };
    let of_conv = |column: usize| {
        let last = tokens.len() - TAPS;
        let taps = taps[column * TAPS..][..TAPS].iter().enumerate();
        taps.map(|(i, tap)| tap * row(last + i)[column])
            .sum::<f64>()
    };
    for (part, expected) in [
        (linear as Part, &of_linear as &dyn Fn(usize) -> f64),
        (conv, &of_conv),
    ] {
        let hidden: Vec<f64> = (0..width).map(expected).collect();
        let exact = SessionOptions {
            kernels: Some(Isa::Exact),
            ..options()
        };
        let mut session = model(&[part]).session(&exact).unwrap();
        let logits = session.prefill(&tokens, &CancelToken::new()).unwrap();
        for (logit, row) in logits.iter().zip(table.chunks_exact(width)) {
            let expected: f64 = row.iter().zip(&hidden).map(|(a, b)| a * b).sum();
            assert!(
                (f64::from(*logit) - expected).abs() < 1e-3,
                "{logit} {expected}"
            );
        }
    }
}

/// How a prompt is cut into passes leaves no trace, whatever is kept.
#[test]
fn chunks_leave_no_trace() {
    let prompt = tokens(170, 5);
    for (name, parts) in GRAPHS {
        let model = model(parts);
        let [a, b] = [6, 17].map(|prefill_chunk| {
            let options = SessionOptions {
                prefill_chunk,
                ..options()
            };
            let mut session = model.session(&options).unwrap();
            let last = prefill(&mut session, &prompt);
            (last, decode(&mut session, &tokens(90, 2)))
        });
        assert!(a == b, "{name}");
    }
}

/// A session goes back to the end of its prompt at least, and is as if it had never
/// gone on. `rewind` says how far it went.
#[test]
fn sessions_go_back_to_the_end_of_the_prompt() {
    let (prompt, answer, other) = (tokens(130, 5), tokens(200, 1), tokens(9, 4));
    for (name, parts) in GRAPHS {
        let model = model(parts);
        let mut session = model.session(&options()).unwrap();
        let recurrent = name.contains("linear") || name.contains("conv");
        prefill(&mut session, &prompt);
        let expected = decode(&mut session, &other);
        for back in [prompt.len() + 60, prompt.len()] {
            session.clear();
            prefill(&mut session, &prompt);
            decode(&mut session, &answer);
            let left = session.rewind(back);
            // A ring of 128 places has the window of a little before its end.
            let all_there = !recurrent && !name.contains("window");
            assert_eq!(left, if all_there { back } else { prompt.len() }, "{name}");
            session.rewind(prompt.len());
            assert_eq!(session.tokens(), prompt, "{name}");
            assert!(decode(&mut session, &other) == expected, "{name}");
        }
        // To a little before the prompt's end: as windows go, with the positions that the
        // checkpoint has beyond the window.
        session.clear();
        prefill(&mut session, &prompt);
        decode(&mut session, &answer);
        let before = prompt.len() - 20;
        let left = session.rewind(before);
        assert_eq!(left, if recurrent { 0 } else { before }, "{name}");
        prefill(&mut session, &prompt[left..]);
        assert_eq!(session.tokens(), prompt);
        assert!(decode(&mut session, &other) == expected, "{name}");
    }
}

/// A checkpoint of what was forgotten is none: going back beyond it, and then forward,
/// must not bring it back.
#[test]
fn a_checkpoint_of_another_text_is_not_taken() {
    let (prompt, other) = (tokens(130, 5), tokens(130, 77));
    for (name, parts) in GRAPHS {
        let mut session = model(parts).session(&options()).unwrap();
        let expected = {
            decode(&mut session, &other);
            decode(&mut session, &prompt[..5])
        };
        session.clear();
        prefill(&mut session, &prompt);
        session.rewind(100);
        session.rewind(0);
        decode(&mut session, &other);
        decode(&mut session, &prompt);
        let left = session.rewind(other.len());
        decode(&mut session, &other[left..]);
        assert!(decode(&mut session, &prompt[..5]) == expected, "{name}");
    }
}

#[test]
fn a_fork_goes_its_own_way() {
    for (name, parts) in GRAPHS {
        let mut session = model(parts).session(&options()).unwrap();
        prefill(&mut session, &tokens(130, 5));
        decode(&mut session, &tokens(40, 6));
        let mut fork = session.fork().unwrap();
        assert_eq!(fork.tokens(), session.tokens());
        assert_eq!(bits(fork.last_logits()), bits(session.last_logits()));
        decode(&mut session, &tokens(50, 1));
        let of_fork = decode(&mut fork, &tokens(50, 2));
        assert_eq!(session.rewind(130), 130);
        decode(&mut session, &tokens(40, 6));
        assert!(decode(&mut session, &tokens(50, 2)) == of_fork, "{name}");
    }
}

#[test]
fn a_saved_session_goes_on_in_another() {
    for (name, parts) in GRAPHS {
        let model = model(parts);
        let mut session = model.session(&options()).unwrap();
        prefill(&mut session, &tokens(130, 5));
        decode(&mut session, &tokens(60, 6));
        let mut saved = Vec::new();
        session.save(&mut saved).unwrap();
        let options = SessionOptions {
            context: Some(400),
            prefill_chunk: 60,
            ..options()
        };
        let mut other = model.session(&options).unwrap();
        decode(&mut other, &tokens(3, 9));
        other.restore(&saved[..]).unwrap();
        assert_eq!(other.tokens(), session.tokens());
        assert_eq!(bits(other.last_logits()), bits(session.last_logits()));
        let (ours, theirs) = (&tokens(80, 2), &mut other);
        assert!(decode(&mut session, ours) == decode(theirs, ours), "{name}");
        assert_eq!(other.rewind(190), 190, "{name}: its end is a checkpoint");
    }
}

#[test]
fn a_saved_session_that_is_damaged_or_foreign_is_refused() {
    let model = model(GRAPHS[3].1);
    let mut session = model.session(&options()).unwrap();
    prefill(&mut session, &tokens(30, 5));
    let mut saved = Vec::new();
    session.save(&mut saved).unwrap();
    let refused = |bytes: &[u8], options: &SessionOptions| {
        let mut other = model.session(options).unwrap();
        prefill(&mut other, &tokens(4, 1));
        let error = other.restore(bytes).unwrap_err();
        assert!(other.tokens().is_empty());
        // It is of use yet.
        prefill(&mut other, &tokens(4, 1));
        match error {
            Error::Snapshot(error) => error,
            other => panic!("{other}"),
        }
    };
    for at in (44..saved.len()).step_by(997).chain([saved.len() - 1]) {
        let mut bytes = saved.clone();
        bytes[at] ^= 1;
        let error = refused(&bytes, &options());
        let too_long = matches!(error, SnapshotError::DoesNotFit { .. });
        assert!(
            matches!(error, SnapshotError::Damaged) || too_long,
            "{at}: {error}"
        );
        let error = refused(&saved[..at], &options());
        assert!(matches!(error, SnapshotError::Damaged), "{at}: {error}");
    }
    let error = refused(b"GGUF", &options());
    assert!(matches!(error, SnapshotError::NotASession));
    let q8_0 = SessionOptions {
        kv_type: KvType::Q8_0,
        ..options()
    };
    assert!(matches!(refused(&saved, &q8_0), SnapshotError::OtherModel));
    let short = SessionOptions {
        context: Some(29),
        ..options()
    };
    let error = refused(&saved, &short);
    let (tokens, context) = (30, 29);
    assert!(
        matches!(error, SnapshotError::DoesNotFit { tokens: t, context: c } if (t, c) == (tokens, context))
    );
}

/// Sessions of different lengths join and leave; each has the logits that it has alone.
#[test]
fn a_batch_gives_each_session_its_own_bits() {
    for (name, parts) in GRAPHS {
        let engine = model(parts).engine(&options()).unwrap();
        let mut batch = engine.batch(3).unwrap();
        let lengths = [1, 90, 150];
        let mut alone = lengths.map(|length| {
            let mut session = engine.session().unwrap();
            prefill(&mut session, &tokens(length, length));
            session
        });
        let mut together = alone.each_ref().map(|session| session.fork().unwrap());
        for step in 0..40 {
            let next = |session: usize| (3 + (step * 5 + session * 11) % 290) as u32;
            // One stays away now and then.
            let away = step % 4;
            let mut rows: Vec<(&mut Session, u32)> = Vec::new();
            for (i, session) in together.iter_mut().enumerate().filter(|(i, _)| *i != away) {
                rows.push((session, next(i)));
            }
            batch.decode(&mut rows).unwrap();
            let present = (0..3).filter(|&i| i != away);
            for (row, i) in present.enumerate() {
                let expected = bits(alone[i].decode(next(i)).unwrap());
                assert!(
                    bits(batch.logits(row)) == expected,
                    "{name}, step {step}, {i}"
                );
            }
        }
    }
}

/// A pass that ends early, wherever that is, leaves the state as it was.
#[test]
fn a_pass_that_fails_leaves_no_trace() {
    for (name, parts) in GRAPHS {
        let mut session = model(parts).session(&options()).unwrap();
        prefill(&mut session, &tokens(130, 5));
        let cancel = CancelToken::new();
        let steps = session.engine().0.plan.body.len();
        for count in 0..=steps {
            let chunk = tokens(20, 9);
            let input = Input::Tokens(&chunk);
            let failed = session.pass(input, Phase::Prefill(&cancel), |executor, pass| {
                let plan = executor.shared.plan;
                for step in &plan.body[..count] {
                    executor.step(step, pass)?;
                }
                Err::<(), _>(Error::Cancelled)
            });
            assert!(matches!(failed, Err(Error::Cancelled)));
        }
        let after = decode(&mut session, &tokens(9, 4));
        session.rewind(0);
        prefill(&mut session, &tokens(130, 5));
        assert!(decode(&mut session, &tokens(9, 4)) == after, "{name}");
    }
}

/// The planner's figures for each kind of state.
#[test]
fn memory_of_states_is_counted() {
    let cache = |parts: &[Part], context| {
        let options = SessionOptions {
            context: Some(context),
            ..options()
        };
        model(parts).memory(&options).unwrap().kv_cache as usize
    };
    let width = model(&[linear]).graph().embedding_width();
    assert_eq!(cache(&[linear], 512), 3 * KEY_DIM * width * 4);
    assert_eq!(cache(&[conv], 512), 3 * (TAPS - 1) * width * 4);
    let full = cache(&[attention], 512);
    assert_eq!(full % 512, 0);
    // 40 + 24 + 63 and 40 + 64 + 32 positions, in whole tiles.
    assert_eq!(cache(&[window], 512), full / 512 * (128 + 192));
    assert_eq!(cache(&[window], 4096), full / 512 * (128 + 192));
    assert_eq!(cache(&[window], 128), full / 512 * 128);
}

#[test]
fn bytes_of_numbers_in_cells() {
    assert_eq!(KvType::F16.bytes(205 * 64), 205 * 128);
    assert_eq!(KvType::Q8_0.bytes(205 * 64), 205 * 68);
    assert_eq!(KvType::Q8_0.bytes(usize::MAX), usize::MAX);
}

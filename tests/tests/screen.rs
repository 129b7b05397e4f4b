//! The screened head: generations are the same tokens as with the whole head,
//! logits the same bits, and a screen that is wrong is found out.

use ondol::{
    CancelToken, GenerateOptions, Isa, LogitFilter, Logits, Model, SamplerOptions, ScreenOptions,
    ScreenStats, Session, SessionOptions,
};
use ondol_models::gguf::Gguf;
use ondol_models::quant::DType;
use ondol_models::screen;
use ondol_tests::packing::packed;
use ondol_tests::random_model::RandomModel;

/// A model whose head is most of it.
fn model(architecture: &'static str) -> RandomModel {
    RandomModel {
        layers: 2,
        vocabulary: 32_003,
        dtype: DType::Q4_0,
        table_dtype: DType::Q8_0,
        ..RandomModel::small(architecture)
    }
}

fn session(
    file: &[u8],
    screen: Option<ScreenOptions>,
    level: Option<Isa>,
    threads: usize,
) -> Session {
    let model = Model::from_bytes(file.to_vec()).unwrap();
    assert!(model.has_screen());
    let options = SessionOptions {
        threads: Some(threads),
        kernels: level,
        context: Some(128),
        screen,
        // Guesses are checked by the whole head: they would be left out of the counts.
        drafts: 0,
        ..SessionOptions::default()
    };
    let session = model.session(&options).unwrap();
    let memory = model.memory(&options).unwrap();
    assert_eq!(memory.screen > 0, screen.is_some());
    session
}

fn audits(every: usize) -> Option<ScreenOptions> {
    Some(ScreenOptions {
        audit_every: every,
        ..ScreenOptions::default()
    })
}

fn generate(session: &mut Session, sampler: &SamplerOptions) -> (Vec<u32>, Option<ScreenStats>) {
    generate_without(session, sampler, None)
}

/// Generates with a filter, if there is one.
fn generate_without(
    session: &mut Session,
    sampler: &SamplerOptions,
    filter: Option<Without>,
) -> (Vec<u32>, Option<ScreenStats>) {
    let options = GenerateOptions {
        sampler: sampler.clone(),
        max_tokens: Some(40),
        ..GenerateOptions::default()
    };
    session.clear();
    let prompt = [1, 300, 4000, 31_000, 17];
    let mut generation = session
        .generate(&prompt, &options, &CancelToken::new())
        .unwrap();
    if let Some(filter) = filter {
        generation.add_filter(Box::new(filter));
    }
    for piece in generation.by_ref() {
        piece.unwrap();
    }
    (generation.tokens().to_vec(), generation.stats().screen)
}

/// Forbids tokens, and may say how many logits that takes.
#[derive(Clone)]
struct Without {
    tokens: Vec<u32>,
    says: bool,
}

impl LogitFilter for Without {
    fn filter(&mut self, logits: &mut Logits) {
        logits.retain(|token, _| !self.tokens.contains(&token));
    }

    fn reads(&self, kept: Option<usize>) -> Option<usize> {
        kept.filter(|_| self.says)
            .map(|kept| kept + self.tokens.len())
    }
}

#[test]
fn the_screen_is_used_if_a_filter_needs_few_logits() {
    let file = packed(&model("llama").to_bytes());
    let mut whole = session(&file, None, None, 1);
    let mut screened = session(&file, audits(7), None, 1);
    for sampler in [SamplerOptions::greedy(), SamplerOptions::default()] {
        let (tokens, _) = generate(&mut whole, &sampler);
        let mut filter = Without {
            tokens: tokens[..5].to_vec(),
            says: false,
        };
        let (expected, _) = generate_without(&mut whole, &sampler, Some(filter.clone()));
        assert_ne!(expected, tokens);
        assert!(!expected.iter().any(|token| filter.tokens.contains(token)));
        for (says, passes) in [(false, 0), (true, 39)] {
            filter.says = says;
            let before = screened.screen_stats().unwrap().screened;
            let (found, stats) = generate_without(&mut screened, &sampler, Some(filter.clone()));
            assert_eq!(found, expected, "{says}");
            assert_eq!(stats.unwrap().screened - before, passes, "{says}");
        }
    }
}

/// Ways to sample, and whether the likeliest tokens decide.
fn samplers() -> Vec<(SamplerOptions, bool)> {
    let warm = |seed| SamplerOptions {
        temperature: 1.5,
        min_p: 0.0,
        seed,
        ..SamplerOptions::default()
    };
    let greedy = SamplerOptions::greedy();
    vec![
        (greedy.clone(), true),
        (SamplerOptions::default(), true),
        (warm(1), true),
        (
            SamplerOptions {
                top_p: 1.0,
                ..warm(2)
            },
            true,
        ),
        (
            SamplerOptions {
                repetition_penalty: 1.3,
                ..greedy.clone()
            },
            true,
        ),
        (
            SamplerOptions {
                presence_penalty: 2.0,
                frequency_penalty: 0.5,
                ..warm(3)
            },
            true,
        ),
        (
            SamplerOptions {
                top_k: 0,
                ..warm(4)
            },
            false,
        ),
        (
            SamplerOptions {
                presence_penalty: -2.0,
                ..greedy
            },
            false,
        ),
    ]
}

#[test]
fn generations_are_the_same_tokens() {
    for architecture in ["llama", "gemma3"] {
        compare_generations(&model(architecture), None, &samplers());
    }
}

/// Plain floats are not interleaved: the screen is all that the copy has beside them.
#[test]
fn over_heads_of_plain_floats_too() {
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        let floats = RandomModel {
            dtype,
            table_dtype: dtype,
            ..model("llama")
        };
        compare_generations(&floats, None, &samplers()[..2]);
    }
}

#[test]
fn at_other_levels_too() {
    for level in [Isa::Scalar, Isa::Exact] {
        compare_generations(&model("llama"), Some(level), &samplers()[..2]);
    }
}

#[track_caller]
fn compare_generations(
    model: &RandomModel,
    level: Option<Isa>,
    samplers: &[(SamplerOptions, bool)],
) {
    let file = packed(&model.to_bytes());
    let mut whole = session(&file, None, level, 1);
    let mut screened = [1, 2].map(|threads| session(&file, audits(7), level, threads));
    for (sampler, decides) in samplers {
        let (expected, none) = generate(&mut whole, sampler);
        assert!(none.is_none());
        for session in &mut screened {
            let before = session.screen_stats().unwrap();
            let (tokens, after) = generate(session, sampler);
            assert_eq!(
                tokens, expected,
                "{}, {}, {level:?}, {sampler:?}",
                model.architecture, model.table_dtype
            );
            let after = after.unwrap();
            let screened = after.screened - before.screened;
            assert_eq!(screened == 39, *decides, "{sampler:?}: {after:?}");
            assert_eq!(after.missed, 0);
        }
        assert_eq!(screened[0].screen_stats(), screened[1].screen_stats());
    }
    let stats = screened[0].screen_stats().unwrap();
    assert!(
        stats.audits >= stats.screened / 7 && stats.whole == 0,
        "{stats:?}"
    );
    assert!(stats.most_rows < 8000 && stats.rows > 0, "{stats:?}");
}

#[test]
fn logits_that_are_there_are_those_of_the_whole_head() {
    let capped = RandomModel {
        architecture: "gemma3",
        ..model("gemma3")
    };
    // The first cap flattens a little, the second so much that the whole head has to run.
    for (cap, screens) in [(None, true), (Some(30.0f32), true), (Some(0.01), false)] {
        let file = packed(
            &match cap {
                Some(cap) => capped.clone().with("final_logit_softcapping", cap),
                None => model("llama"),
            }
            .to_bytes(),
        );
        let mut whole = session(&file, None, None, 1);
        let mut screened = session(&file, audits(0), None, 2);
        for k in [1, 3, 40, 120] {
            for token in 0..6 {
                let all = whole.decode(100 * token + k as u32).unwrap().to_vec();
                let some = screened.decode_top(100 * token + k as u32, k).unwrap();
                let mut order: Vec<usize> = (0..all.len()).collect();
                order.sort_by(|&a, &b| all[b].total_cmp(&all[a]).then(a.cmp(&b)));
                for &row in &order[..k] {
                    assert_eq!(some[row].to_bits(), all[row].to_bits(), "k {k}, row {row}");
                }
                for (row, logit) in some.iter().enumerate() {
                    let absent = *logit == f32::NEG_INFINITY;
                    assert!(absent || logit.to_bits() == all[row].to_bits(), "row {row}");
                }
                let scored = some.iter().filter(|x| **x > f32::NEG_INFINITY).count();
                assert_eq!(
                    scored < all.len() / 4 + 8,
                    screens,
                    "cap {cap:?}, {scored} rows"
                );
            }
        }
        let stats = screened.screen_stats().unwrap();
        assert_eq!(
            (stats.screened > 0, stats.whole > 0),
            (screens, !screens),
            "{stats:?}"
        );
        // More than there are maxima of bounds.
        screened.decode_top(9, 4000).unwrap();
        assert_eq!(screened.screen_stats().unwrap().whole, stats.whole + 1);
        assert!(screened.last_logits().iter().all(|x| x.is_finite()));
    }
}

/// The file with other bytes in one of its tensors.
fn doctored(file: &[u8], name: &str, byte: impl Fn(usize) -> u8) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let tensor = gguf.tensor(name).unwrap();
    let (start, len) = (tensor.offset as usize, tensor.data.len());
    let mut file = file.to_vec();
    for (at, place) in file[start..start + len].iter_mut().enumerate() {
        *place = byte(at);
    }
    file
}

#[test]
fn a_wrong_screen_is_found_out_and_switched_off() {
    let file = packed(&model("llama").to_bytes());
    let certain = doctored(&file, screen::ERROR, |_| 0);
    // A copy of another head that claims to be exact.
    let garbage = doctored(&certain, screen::WEIGHT, |at| match at % 144 < 16 {
        true => [0, 0x2c][at % 2],
        false => (at * 37 % 251) as u8,
    });
    // Scales that are no numbers.
    let nan = doctored(&file, screen::WEIGHT, |_| 0xff);
    for sampler in [SamplerOptions::greedy(), SamplerOptions::default()] {
        let (expected, _) = generate(&mut session(&file, None, None, 1), &sampler);
        let mut screened = session(&garbage, audits(5), None, 1);
        let (tokens, stats) = generate(&mut screened, &sampler);
        let stats = stats.unwrap();
        assert_eq!((stats.audits, stats.screened), (1, 1), "{stats:?}");
        assert!(stats.missed > 0);
        // The audit is of the first token, so that nothing is lost at all.
        assert_eq!(tokens, expected);
        assert!(screened.last_logits().iter().all(|x| x.is_finite()));

        // No bound is a number: the whole head runs without an audit.
        let mut screened = session(&nan, audits(0), None, 1);
        let (tokens, stats) = generate(&mut screened, &sampler);
        let stats = stats.unwrap();
        assert_eq!((stats.screened, stats.whole), (0, 39), "{stats:?}");
        assert_eq!(tokens, expected);
    }
}

#[test]
fn what_gains_nothing_has_no_screen() {
    let few_bits = RandomModel {
        table_dtype: DType::Q4_0,
        ..model("llama")
    };
    let file = packed(&few_bits.to_bytes());
    assert!(!Model::from_bytes(file).unwrap().has_screen());
    let model = Model::hello().unwrap();
    let mut session = model.session(&SessionOptions::default()).unwrap();
    session.decode_top(5, 1).unwrap();
    assert!(session.last_logits().iter().all(|x| x.is_finite()));
    assert_eq!(session.screen_stats(), None);
}

#[test]
fn a_margin_that_is_no_number_is_refused() {
    let model = Model::from_bytes(packed(&model("llama").to_bytes())).unwrap();
    for margin in [f32::NAN, f32::INFINITY, -1.0] {
        let options = SessionOptions {
            screen: Some(ScreenOptions {
                margin,
                ..ScreenOptions::default()
            }),
            ..SessionOptions::default()
        };
        let error = model.session(&options).err().unwrap().to_string();
        assert!(error.contains("margin"), "{error}");
    }
}

//! Batches, loss, and the loop.

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use candle_nn::loss::cross_entropy;
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use ondol_models::tokenizer::{EncodeOptions, Tokenizer};

use crate::grammar::Segment;
use crate::model::{Model, Positions};

/// A part of the training with batches of one shape.
pub struct Phase {
    /// Optimizer steps.
    pub steps: usize,
    /// Rows of a batch.
    pub rows: usize,
    /// Tokens of a row.
    pub tokens: usize,
}

/// Learning rates: the highest one, and the one at the end.
const PEAK_RATE: f64 = 4e-3;
const LAST_RATE: f64 = 1e-4;
const WARMUP_STEPS: usize = 40;
const OPTIMIZER: ParamsAdamW = ParamsAdamW {
    lr: 0.0,
    beta1: 0.9,
    beta2: 0.98,
    eps: 1e-8,
    weight_decay: 0.02,
};

/// Rows of whole documents, and what follows each token.
struct Batch {
    /// `[rows, tokens]`.
    ids: Tensor,
    /// Indices in the flattened rows of the tokens whose next token is learned.
    places: Tensor,
    /// The next tokens at those places.
    targets: Tensor,
}

/// Turns documents into batches.
pub struct Batches<'a, F> {
    tokenizer: &'a Tokenizer,
    documents: F,
    /// A document that did not fit in the last row.
    left: Option<Vec<(u32, bool)>>,
}

/// Mean loss in nats, and the share of places where the likeliest token is right.
pub struct Score {
    /// Mean negative log-likelihood of learned tokens.
    pub loss: f32,
    /// Share of learned tokens that were the likeliest.
    pub accuracy: f32,
}

impl<'a, F: FnMut() -> Vec<Segment>> Batches<'a, F> {
    /// Batches of what `documents` gives.
    pub fn new(tokenizer: &'a Tokenizer, documents: F) -> Self {
        Batches {
            tokenizer,
            documents,
            left: None,
        }
    }

    fn document(&mut self) -> Vec<(u32, bool)> {
        let options = EncodeOptions {
            add_special: false,
            parse_special: true,
        };
        let segments = (self.documents)();
        let tokens = segments.iter().flat_map(|segment| {
            let ids = self.tokenizer.encode(&segment.text, options);
            ids.into_iter().map(|id| (id, segment.learned))
        });
        tokens.collect()
    }

    /// As many whole documents as fit, or the beginning of one that is too long. The rest of
    /// the row is padding, which is not learned.
    fn row(&mut self, tokens: usize) -> Vec<(u32, bool)> {
        let mut row = Vec::new();
        loop {
            let document = self.left.take().unwrap_or_else(|| self.document());
            if !row.is_empty() && row.len() + document.len() > tokens {
                self.left = Some(document);
                row.resize(tokens, (0, false));
                return row;
            }
            row.extend(document);
            row.truncate(tokens);
        }
    }

    fn batch(&mut self, rows: usize, tokens: usize) -> Result<Batch> {
        let all: Vec<(u32, bool)> = (0..rows).flat_map(|_| self.row(tokens)).collect();
        let ids: Vec<u32> = all.iter().map(|&(id, _)| id).collect();
        // The first token of a row has no place before it.
        let learned = (1..all.len()).filter(|&i| all[i].1 && i % tokens != 0);
        let (places, targets): (Vec<u32>, Vec<u32>) =
            learned.map(|i| (i as u32 - 1, all[i].0)).unzip();
        Ok(Batch {
            ids: Tensor::from_vec(ids, (rows, tokens), &Device::Cpu)?,
            places: Tensor::new(places, &Device::Cpu)?,
            targets: Tensor::new(targets, &Device::Cpu)?,
        })
    }
}

/// Logits at the learned places, and their loss.
fn forward(model: &Model, batch: &Batch, positions: &Positions) -> Result<(Tensor, Tensor)> {
    let states = model
        .states(&batch.ids, positions)?
        .index_select(&batch.places, 0)?;
    let logits = model.head(&states)?;
    let loss = cross_entropy(&logits, &batch.targets)?;
    Ok((logits, loss))
}

/// Runs the phases one after the other with AdamW (arXiv:1711.05101), under one schedule of
/// learning rates.
pub fn train<F: FnMut() -> Vec<Segment>>(
    model: &Model,
    batches: &mut Batches<'_, F>,
    phases: &[Phase],
) -> Result<()> {
    let vars = model
        .weights
        .iter()
        .map(|weight| weight.var.clone())
        .collect();
    let mut optimizer = AdamW::new(vars, OPTIMIZER)?;
    let total = phases.iter().map(|phase| phase.steps).sum();
    let (start, mut step, mut mean) = (Instant::now(), 0, 0.0);
    for phase in phases {
        let positions = model.positions(phase.tokens)?;
        for _ in 0..phase.steps {
            let batch = batches.batch(phase.rows, phase.tokens)?;
            let (_, loss) = forward(model, &batch, &positions)?;
            optimizer.set_learning_rate(rate(step, total));
            optimizer.backward_step(&loss)?;
            step += 1;
            mean += loss.to_scalar::<f32>()?;
            if step % 50 == 0 {
                println!(
                    "step {step:5} of {total}  loss {:.4}  {:.0?}",
                    mean / 50.0,
                    start.elapsed()
                );
                mean = 0.0;
            }
        }
    }
    Ok(())
}

/// The learning rate of a step: a linear warm-up, then half a cosine.
fn rate(step: usize, total: usize) -> f64 {
    if step < WARMUP_STEPS {
        return PEAK_RATE * (step + 1) as f64 / WARMUP_STEPS as f64;
    }
    let progress = (step - WARMUP_STEPS) as f64 / (total - WARMUP_STEPS).max(1) as f64;
    LAST_RATE + (PEAK_RATE - LAST_RATE) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

/// Scores the model on one batch, without learning from it.
pub fn evaluate<F: FnMut() -> Vec<Segment>>(
    model: &Model,
    batches: &mut Batches<'_, F>,
) -> Result<Score> {
    let (rows, tokens) = (32, 128);
    let batch = batches.batch(rows, tokens)?;
    let (logits, loss) = forward(model, &batch, &model.positions(tokens)?)?;
    let likeliest = logits.argmax(1)?.to_vec1::<u32>()?;
    let targets = batch.targets.to_vec1::<u32>()?;
    let right = likeliest
        .iter()
        .zip(&targets)
        .filter(|(a, b)| a == b)
        .count();
    Ok(Score {
        loss: loss.to_scalar()?,
        accuracy: right as f32 / targets.len() as f32,
    })
}

//! A small Llama in candle, for training.

use candle_core::{D, Device, Result, Tensor, Var};
use candle_nn::ops::{silu, softmax};

use crate::rng::Rng;

/// Hyperparameters.
pub struct Config {
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub hidden: usize,
    /// Base of the angles of rotary embeddings.
    pub rope_base: f32,
    /// Added to the mean square in norms.
    pub eps: f32,
}

/// A weight, named as GGUF names it.
pub struct Weight {
    /// Name of the tensor.
    pub name: String,
    /// Rows are outputs, columns inputs; norms have one dimension.
    pub var: Var,
}

/// The weights.
pub struct Model {
    /// Hyperparameters.
    pub config: Config,
    /// All weights, in the order of the file.
    pub weights: Vec<Weight>,
}

/// The tables for sequences of one length: rotary angles and the causal mask.
pub struct Positions {
    /// Cosines of the angles, `[tokens, head_dim]`.
    cos: Tensor,
    /// Sines of the angles, `[tokens, head_dim]`.
    sin: Tensor,
    /// `x . turn` has `(-b, a)` for each pair `(a, b)` of neighbours: `[head_dim, head_dim]`.
    turn: Tensor,
    /// 0 where a query may look, else -1e9: `[queries of a kv head * tokens, tokens]`.
    mask: Tensor,
}

impl Model {
    /// Random weights: uniform, with a standard deviation of `0.6 / sqrt(inputs)`, or 0.05 in
    /// the embedding. In the projections that write to the residual stream it is divided by
    /// `sqrt(2 * layers)`.
    pub fn new(config: Config, rng: &mut Rng) -> Result<Model> {
        let Config {
            vocabulary,
            width,
            hidden,
            ..
        } = config;
        let (q, kv) = (
            config.heads * config.head_dim,
            config.kv_heads * config.head_dim,
        );
        let depth = (2.0 * config.layers as f32).sqrt();
        let mut weights = Vec::new();
        let mut matrix = |name: String, rows: usize, cols: usize, deviation: f32| -> Result<()> {
            // A uniform number from -1 to 1 has a standard deviation of 1 / sqrt(3).
            let scale = deviation * 3f32.sqrt();
            let values: Vec<f32> = (0..rows * cols).map(|_| rng.signed() * scale).collect();
            weights.push(Weight {
                name,
                var: Var::from_vec(values, (rows, cols), &Device::Cpu)?,
            });
            Ok(())
        };
        let fan_in = |inputs: usize| 0.6 / (inputs as f32).sqrt();
        matrix("token_embd.weight".into(), vocabulary, width, 0.05)?;
        for layer in 0..config.layers {
            let name = |part| format!("blk.{layer}.{part}.weight");
            matrix(name("attn_q"), q, width, fan_in(width))?;
            matrix(name("attn_k"), kv, width, fan_in(width))?;
            matrix(name("attn_v"), kv, width, fan_in(width))?;
            matrix(name("attn_output"), width, q, fan_in(q) / depth)?;
            matrix(name("ffn_gate"), hidden, width, fan_in(width))?;
            matrix(name("ffn_up"), hidden, width, fan_in(width))?;
            matrix(name("ffn_down"), width, hidden, fan_in(hidden) / depth)?;
        }
        let norms = (0..config.layers)
            .flat_map(|l| ["attn_norm", "ffn_norm"].map(|part| format!("blk.{l}.{part}.weight")));
        for name in norms.chain(["output_norm.weight".into()]) {
            weights.push(Weight {
                name,
                var: Var::from_vec(vec![1f32; width], width, &Device::Cpu)?,
            });
        }
        Ok(Model { config, weights })
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.weights
            .iter()
            .map(|weight| weight.var.elem_count())
            .sum()
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        let found = self.weights.iter().find(|weight| weight.name == name);
        found
            .map(|weight| weight.var.as_tensor())
            .ok_or_else(|| candle_core::Error::msg(format!("no weight {name}")))
    }

    /// Angles and mask for sequences of this many tokens.
    pub fn positions(&self, tokens: usize) -> Result<Positions> {
        let Config {
            head_dim,
            rope_base,
            ..
        } = self.config;
        let groups = self.config.heads / self.config.kv_heads;
        let angle = |i: usize| {
            let (at, pair) = (i / head_dim, i % head_dim / 2);
            at as f32 * rope_base.powf(-2.0 * pair as f32 / head_dim as f32)
        };
        let table = |f: fn(f32) -> f32| -> Result<Tensor> {
            let values: Vec<f32> = (0..tokens * head_dim).map(|i| f(angle(i))).collect();
            Tensor::from_vec(values, (tokens, head_dim), &Device::Cpu)
        };
        let mut turn = vec![0f32; head_dim * head_dim];
        for even in (0..head_dim).step_by(2) {
            turn[(even + 1) * head_dim + even] = -1.0;
            turn[even * head_dim + even + 1] = 1.0;
        }
        let blocked = |i: usize| i % tokens > i / tokens % tokens;
        let mask: Vec<f32> = (0..groups * tokens * tokens)
            .map(|i| if blocked(i) { -1e9 } else { 0.0 })
            .collect();
        Ok(Positions {
            cos: table(f32::cos)?,
            sin: table(f32::sin)?,
            turn: Tensor::from_vec(turn, (head_dim, head_dim), &Device::Cpu)?,
            mask: Tensor::from_vec(mask, (groups * tokens, tokens), &Device::Cpu)?,
        })
    }

    /// The hidden vectors after the last norm, `[batch * tokens, width]`, of `ids`,
    /// `[batch, tokens]`.
    pub fn states(&self, ids: &Tensor, positions: &Positions) -> Result<Tensor> {
        let (batch, tokens) = ids.dims2()?;
        let mut x = self
            .weight("token_embd.weight")?
            .index_select(&ids.flatten_all()?, 0)?;
        for layer in 0..self.config.layers {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let h = self.rms_norm(&x, &name("attn_norm"))?;
            let q = self.linear(&h, &name("attn_q"))?;
            let k = self.linear(&h, &name("attn_k"))?;
            let v = self.linear(&h, &name("attn_v"))?;
            let h = self.attention([q, k, v], (batch, tokens), positions)?;
            x = (x + self.linear(&h, &name("attn_output"))?)?;

            let h = self.rms_norm(&x, &name("ffn_norm"))?;
            let gate = silu(&self.linear(&h, &name("ffn_gate"))?)?;
            let h = (gate * self.linear(&h, &name("ffn_up"))?)?;
            x = (x + self.linear(&h, &name("ffn_down"))?)?;
        }
        self.rms_norm(&x, "output_norm.weight")
    }

    /// The logits, `[rows, vocabulary]`, of hidden vectors, `[rows, width]`.
    pub fn head(&self, states: &Tensor) -> Result<Tensor> {
        self.linear(states, "token_embd.weight")
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        x.matmul(&self.weight(name)?.t()?)
    }

    fn rms_norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        let root = (mean + f64::from(self.config.eps))?.sqrt()?;
        x.broadcast_div(&root)?.broadcast_mul(self.weight(name)?)
    }

    /// Causal attention. The queries that share a kv head are one longer
    /// sequence, so that keys and values need not be repeated.
    fn attention(
        &self,
        [q, k, v]: [Tensor; 3],
        (batch, tokens): (usize, usize),
        p: &Positions,
    ) -> Result<Tensor> {
        let Config {
            heads,
            kv_heads,
            head_dim,
            ..
        } = self.config;
        let groups = heads / kv_heads;
        let by_head = |x: Tensor, heads: usize| {
            x.reshape((batch, tokens, heads, head_dim))?
                .transpose(1, 2)?
                .contiguous()
        };
        let q =
            rope(&by_head(q, heads)?, p)?.reshape((batch * kv_heads, groups * tokens, head_dim))?;
        let k = rope(&by_head(k, kv_heads)?, p)?.reshape((batch * kv_heads, tokens, head_dim))?;
        let v = by_head(v, kv_heads)?.reshape((batch * kv_heads, tokens, head_dim))?;
        let scores = ((q * (1.0 / (head_dim as f64).sqrt()))?).matmul(&k.t()?)?;
        let h = softmax(&scores.broadcast_add(&p.mask)?, D::Minus1)?.matmul(&v)?;
        h.reshape((batch, heads, tokens, head_dim))?
            .transpose(1, 2)?
            .reshape((batch * tokens, heads * head_dim))
    }
}

/// Rotates elements `2i` and `2i + 1` of each head by the angle of their position.
fn rope(x: &Tensor, positions: &Positions) -> Result<Tensor> {
    let head_dim = x.dim(D::Minus1)?;
    let turned = x
        .reshape(((), head_dim))?
        .matmul(&positions.turn)?
        .reshape(x.shape())?;
    x.broadcast_mul(&positions.cos)? + turned.broadcast_mul(&positions.sin)?
}

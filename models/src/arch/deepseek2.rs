//! DeepSeek V2 and V3 (arXiv:2405.04434, arXiv:2412.19437), Kanana 2: latent attention. The
//! first layers are dense, the others have experts and an expert that all tokens share.
//!
//! The cache holds one narrow row for each token, and a rotated part that all heads share.
//! By definition, a head's keys and values are its matrices times the narrow row. Here the
//! queries are multiplied with the key matrices instead, and the results of attention with
//! the value matrices, so that attention reads the narrow rows themselves, as keys and as
//! values.

use super::common::{self, Decoder};
use super::experts::{self, Router};
use super::rope;
use crate::graph::{Attention, Builder, Gate, Graph, RopeStyle, ValueId};
use crate::{Error, Result};
use alloc::format;

const ROUTER: Router = Router {
    gate: Gate::Softmax,
    normalize: false,
};

/// Widths of latent attention.
struct Latent {
    /// Of the narrow row of a token.
    rank: usize,
    /// Of a head's query before it is multiplied with the key matrix.
    query: usize,
    /// Of the rotated end of a query, and of a key.
    rotated: usize,
    /// Of a head's value.
    value: usize,
}

/// The graph of a `deepseek2` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let latent = Latent::read(&b)?;
    let hp = Decoder {
        layers: b.layers()?,
        width: b.size("embedding_length")?,
        head_dim: latent.query,
        eps: common::epsilon(&b)?,
    };
    let mut rope = rope::scaled(&b, &hp, RopeStyle::Interleaved)?;
    let mut scale = 1.0 / libm::sqrtf(latent.query as f32);
    // The factors on queries and keys become one on the scores, in place of the one on
    // cosine and sine.
    if let Some(magnitude) = rope::magnitude_of_scores(&b)? {
        rope.magnitude = 1.0;
        scale *= magnitude * magnitude;
    }
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let attention = Attention {
            kv_heads: 1,
            head_dim: latent.rank + latent.rotated,
            scale,
            ..at.attention()
        };
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let h = latent.attend(&mut b, h, hp.eps, rope, attention)?;
        let h = b.linear(h, "attn_output", hp.width)?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = experts::or_feed_forward(&mut b, h, ROUTER)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}

impl Latent {
    fn read(b: &Builder) -> Result<Latent> {
        const QUERY: &str = "attention.key_length_mla";
        let latent = Latent {
            rank: b.size("attention.kv_lora_rank")?,
            query: b.size(QUERY)?,
            rotated: b.size("rope.dimension_count")?,
            value: b.size("attention.value_length_mla")?,
        };
        let widths = [latent.rank, latent.query, latent.rotated, latent.value];
        if latent.rotated >= latent.query || widths.iter().any(|width| width % 8 != 0) {
            let reason = format!(
                "{} of which {} rotate, values of {}, rows of {}: not multiples of 8, or all \
                 of a query rotates",
                latent.query, latent.rotated, latent.value, latent.rank
            );
            return Err(Error::BadValue {
                key: b.key(QUERY),
                reason,
            });
        }
        Ok(latent)
    }

    /// The results of all heads, `value` columns each.
    fn attend(
        &self,
        b: &mut Builder,
        x: ValueId,
        eps: f32,
        rope: usize,
        attention: Attention,
    ) -> Result<ValueId> {
        let heads = attention.heads;
        let q = self.queries(b, x, eps, rope, heads)?;

        let row = b.linear(x, "attn_kv_a_mqa", self.rank + self.rotated)?;
        let narrow = b.take(row, self.rank + self.rotated, 0..self.rank);
        let narrow = b.rms_norm(narrow, "attn_kv_a_norm", eps)?;
        let end = self.rank..self.rank + self.rotated;
        let end = b.take(row, self.rank + self.rotated, end);
        let end = b.rope(end, self.rotated, rope);
        let row = b.join(narrow, end, 1);

        let h = b.attention(q, row, row, attention);
        let h = b.take(h, self.rank + self.rotated, 0..self.rank);
        b.linear_of_parts(h, "attn_v_b", heads, [self.value, self.rank])
    }

    /// Queries of `rank + rotated` columns for each head. In some files queries are computed
    /// from a narrow row too.
    fn queries(
        &self,
        b: &mut Builder,
        x: ValueId,
        eps: f32,
        rope: usize,
        heads: usize,
    ) -> Result<ValueId> {
        let q = match b.opt_count("attention.q_lora_rank")? {
            Some(rank @ 1..) => {
                let narrow = b.linear(x, "attn_q_a", rank)?;
                let narrow = b.rms_norm(narrow, "attn_q_a_norm", eps)?;
                b.linear(narrow, "attn_q_b", heads * self.query)?
            }
            _ => b.linear(x, "attn_q", heads * self.query)?,
        };
        let plain = self.query - self.rotated;
        let start = b.take(q, self.query, 0..plain);
        let start = b.linear_of_parts(start, "attn_k_b", heads, [self.rank, plain])?;
        let end = b.take(q, self.query, plain..self.query);
        let end = b.rope(end, self.rotated, rope);
        Ok(b.join(start, end, heads))
    }
}

//! The block of Mamba-2 (arXiv:2405.21060): a short convolution, a state space, and a
//! gated norm.

use crate::Result;
use crate::graph::{Activation, Builder, LinearAttention, ValueId};
use crate::{Error, graph::Weight};
use alloc::format;

/// The sizes of a Mamba-2 block.
pub struct Ssm {
    /// Rows that the convolution sees.
    taps: usize,
    /// Width of the values of all heads.
    inner: usize,
    /// Numbers in B, and in C, of a group.
    state: usize,
    /// Groups of heads, each with its own B and C.
    groups: usize,
    /// Heads, each with its own time step.
    heads: usize,
}

impl Ssm {
    /// Reads `<architecture>.ssm.*`.
    pub fn read(b: &Builder) -> Result<Ssm> {
        let ssm = Ssm {
            taps: b.size("ssm.conv_kernel")?,
            inner: b.size("ssm.inner_size")?,
            state: b.size("ssm.state_size")?,
            groups: b.size("ssm.group_count")?,
            heads: b.size("ssm.time_step_rank")?,
        };
        let Ssm {
            inner,
            groups,
            heads,
            ..
        } = ssm;
        if !(inner.is_multiple_of(heads) && heads.is_multiple_of(groups)) {
            let key = b.key("ssm.time_step_rank");
            let reason = format!("{heads} heads in {groups} groups on a width of {inner}");
            return Err(Error::BadValue { key, reason });
        }
        Ok(ssm)
    }

    /// The block on `x`, without the norm before it.
    pub fn mixer(&self, b: &mut Builder, x: ValueId, eps: f32) -> Result<ValueId> {
        let width = b.width(x);
        let of_groups = self.groups * self.state;
        let convolved = self.inner + 2 * of_groups;
        let [z, xbc, dt] = b.fused(x, "ssm_in", [self.inner, convolved, self.heads])?;

        let xbc = b.conv(xbc, "ssm_conv1d", self.taps)?;
        let xbc = match b.opt_bias("ssm_conv1d", convolved)? {
            Some(bias) => b.bias(xbc, bias),
            None => xbc,
        };
        let xbc = b.activate(xbc, Activation::Silu);
        let values = b.take(xbc, convolved, 0..self.inner);
        let keys = b.take(xbc, convolved, self.inner..self.inner + of_groups);
        let queries = b.take(xbc, convolved, self.inner + of_groups..convolved);

        let (dt, decay) = time_step(b, dt, self.heads)?;
        let skip = b.numbers("ssm_d", self.heads)?;
        let linear = LinearAttention {
            slot: 0,
            heads: self.heads,
            key_heads: self.groups,
            key_dim: self.state,
            value_dim: self.inner / self.heads,
            interleaved: false,
            delta: false,
        };
        let y = b.linear_attention([queries, keys, values], decay, dt, linear);
        let skipped = b.gain(values, skip);
        let y = b.add(y, skipped);
        let y = b.glu(z, y, Activation::Silu);
        let y = match self.norm(b)? {
            Some(weight) => {
                let y = b.unit_norm(y, self.inner / self.groups, eps);
                b.gain(y, weight)
            }
            None => y,
        };
        b.linear(y, "ssm_out", width)
    }

    /// The weight of the norm of each group, if the file has one.
    fn norm(&self, b: &Builder) -> Result<Option<Weight>> {
        let norm = b.has("ssm_norm").then(|| b.numbers("ssm_norm", self.inner));
        norm.transpose()
    }
}

/// The time step of each head, `softplus(dt + bias)`, and the logarithm of its decay: the
/// time step times `ssm_a`, which is `-exp(A_log)` of the model's own parameter `A_log`.
pub fn time_step(b: &mut Builder, dt: ValueId, heads: usize) -> Result<(ValueId, ValueId)> {
    let bias = b.bias_vector("ssm_dt", heads)?;
    let a = b.numbers("ssm_a", heads)?;
    let dt = b.bias(dt, bias);
    let dt = b.activate(dt, Activation::Softplus);
    let decay = b.gain(dt, a);
    Ok((dt, decay))
}

//! Which tensors a model has, and their random values.

use super::{FURTHER, RandomModel, further};
use ondol_models::quant::DType;

/// A tensor that is yet to be filled.
pub struct Tensor {
    pub name: String,
    /// As in the file: columns first.
    pub dims: Vec<u64>,
    pub dtype: DType,
    pub fill: Fill,
}

/// What a tensor holds.
pub enum Fill {
    /// These values.
    Values(Vec<f32>),
    /// Values about `mean`, with this standard deviation.
    Random { mean: f32, deviation: f32 },
}

impl RandomModel {
    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut list = List {
            model: self,
            tensors: Vec::new(),
        };
        list.all();
        list.tensors
    }
}

/// Tensors of a model, as they are added.
pub struct List<'a> {
    pub model: &'a RandomModel,
    tensors: Vec<Tensor>,
}

impl List<'_> {
    fn all(&mut self) {
        let m = self.model;
        // Gemma multiplies embeddings by the root of the width.
        let deviation = if m.architecture.starts_with("gemma") {
            0.1
        } else {
            0.5
        };
        self.table("token_embd", deviation);
        // LFM2 gives its last norm the name of the embeddings'.
        let last_norm = if m.architecture.starts_with("lfm2") {
            "token_embd_norm"
        } else {
            "output_norm"
        };
        self.norm(last_norm.into(), m.width);
        if !m.tied {
            self.table("output", 0.5);
        }
        for (name, values) in &m.factors {
            let fill = Fill::Values(values.clone());
            self.push(
                format!("{name}.weight"),
                vec![values.len()],
                DType::F32,
                fill,
            );
        }
        if FURTHER.contains(&m.architecture) {
            further::whole(self);
            (0..m.layers).for_each(|layer| further::layer(self, layer));
        } else {
            (0..m.layers).for_each(|layer| self.layer(layer));
        }
    }

    fn layer(&mut self, layer: usize) {
        let m = self.model;
        let [heads, kv_heads, hidden] = m.shape(layer);
        let (width, q, kv) = (m.width, heads * m.head_dim, kv_heads * m.head_dim);
        let at = |name: &str| format!("blk.{layer}.{name}");
        let head_norms = matches!(m.architecture, "qwen3" | "gemma3" | "exaone4");
        let pre_norms = m.architecture != "exaone4";
        let post_norms = matches!(m.architecture, "gemma2" | "gemma3" | "exaone4");
        let fused = m.architecture == "phi3";

        if pre_norms {
            self.norm(at("attn_norm"), width);
            self.norm(at("ffn_norm"), width);
        }
        if post_norms {
            self.norm(at("post_attention_norm"), width);
            self.norm(at("post_ffw_norm"), width);
        }
        if head_norms {
            self.norm(at("attn_q_norm"), m.head_dim);
            self.norm(at("attn_k_norm"), m.head_dim);
        }
        if fused {
            self.matrix(at("attn_qkv"), q + 2 * kv, width, 1.5);
            self.matrix(at("ffn_up"), 2 * hidden, width, 1.0);
        } else {
            // Sharper attention shows errors of position.
            self.matrix(at("attn_q"), q, width, 1.5);
            self.matrix(at("attn_k"), kv, width, 1.5);
            self.matrix(at("attn_v"), kv, width, 1.0);
            self.matrix(at("ffn_gate"), hidden, width, 1.0);
            self.matrix(at("ffn_up"), hidden, width, 1.0);
        }
        if m.biases {
            for (name, rows) in [("attn_q", q), ("attn_k", kv), ("attn_v", kv)] {
                self.vector(format!("{}.bias", at(name)), rows, 0.0, 0.3);
            }
        }
        self.matrix(at("attn_output"), width, q, 1.0);
        self.matrix(at("ffn_down"), width, hidden, 1.0);
    }

    fn table(&mut self, name: &str, deviation: f32) {
        let m = self.model;
        let fill = Fill::Random {
            mean: 0.0,
            deviation,
        };
        self.push(
            format!("{name}.weight"),
            vec![m.width, m.vocabulary],
            m.table_dtype,
            fill,
        );
    }

    /// A matrix that multiplies the norm of a typical row by `gain`.
    pub fn matrix(&mut self, name: String, rows: usize, cols: usize, gain: f32) {
        self.stack(format!("{name}.weight"), vec![cols, rows], gain);
    }

    /// Matrices of these dimensions in one tensor, like [`List::matrix`].
    pub fn stack(&mut self, name: String, dims: Vec<usize>, gain: f32) {
        let dtype = fitting(self.model.dtype, dims[0]);
        let fill = Fill::Random {
            mean: 0.0,
            deviation: gain / (dims[0] as f32).sqrt(),
        };
        self.push(name, dims, dtype, fill);
    }

    pub fn norm(&mut self, name: String, len: usize) {
        self.vector(format!("{name}.weight"), len, 1.0, 0.2);
    }

    pub fn vector(&mut self, name: String, len: usize, mean: f32, deviation: f32) {
        self.push(
            name,
            vec![len],
            DType::F32,
            Fill::Random { mean, deviation },
        );
    }

    pub fn push(&mut self, name: String, dims: Vec<usize>, dtype: DType, fill: Fill) {
        let dims = dims.into_iter().map(|dim| dim as u64).collect();
        self.tensors.push(Tensor {
            name,
            dims,
            dtype,
            fill,
        });
    }
}

/// Where rows are not whole blocks of a format, files have one with shorter blocks.
pub fn fitting(dtype: DType, cols: usize) -> DType {
    let formats = [dtype, DType::Q8_0, DType::F32];
    let fits = |dtype: &DType| dtype.row_bytes(cols).is_some();
    formats.into_iter().find(fits).expect("F32 fits any row")
}

//! Mixes: the format of each tensor when a whole file is quantized.
//!
//! A mix has one format for most matrices and a larger one where errors matter most:
//! for the output head, and for the value and down projections of some layers. The
//! rules are those of llama.cpp's `llama-quantize` without an importance matrix, so
//! that both make equivalent files, except its special cases for architectures that
//! Ondol does not run and for 70B models.

use super::DType;

/// A mix or a single format, as an argument of `ondol quantize`.
#[allow(non_camel_case_types)]
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mix {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
}

struct Row {
    mix: Mix,
    name: &'static str,
    file_type: u32,
    base: DType,
}

const MIXES: [Row; 20] = {
    const fn row(mix: Mix, name: &'static str, file_type: u32, base: DType) -> Row {
        Row {
            mix,
            name,
            file_type,
            base,
        }
    }
    [
        row(Mix::F32, "F32", 0, DType::F32),
        row(Mix::F16, "F16", 1, DType::F16),
        row(Mix::BF16, "BF16", 32, DType::BF16),
        row(Mix::Q4_0, "Q4_0", 2, DType::Q4_0),
        row(Mix::Q4_1, "Q4_1", 3, DType::Q4_1),
        row(Mix::Q5_0, "Q5_0", 8, DType::Q5_0),
        row(Mix::Q5_1, "Q5_1", 9, DType::Q5_1),
        row(Mix::Q8_0, "Q8_0", 7, DType::Q8_0),
        row(Mix::Q2_K, "Q2_K", 10, DType::Q2_K),
        row(Mix::Q3_K_S, "Q3_K_S", 11, DType::Q3_K),
        row(Mix::Q3_K_M, "Q3_K_M", 12, DType::Q3_K),
        row(Mix::Q3_K_L, "Q3_K_L", 13, DType::Q3_K),
        row(Mix::Q4_K_S, "Q4_K_S", 14, DType::Q4_K),
        row(Mix::Q4_K_M, "Q4_K_M", 15, DType::Q4_K),
        row(Mix::Q5_K_S, "Q5_K_S", 16, DType::Q5_K),
        row(Mix::Q5_K_M, "Q5_K_M", 17, DType::Q5_K),
        row(Mix::Q6_K, "Q6_K", 18, DType::Q6_K),
        row(Mix::IQ4_NL, "IQ4_NL", 25, DType::IQ4_NL),
        row(Mix::IQ4_XS, "IQ4_XS", 30, DType::IQ4_XS),
        row(Mix::MXFP4, "MXFP4", 38, DType::MXFP4),
    ]
};

/// The properties of a model on which a mix depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// `block_count`.
    pub layers: usize,
    /// Query heads for each key-value head, rounded down.
    pub queries_per_kv: usize,
    /// `expert_count`; 0 in a dense model.
    pub experts: usize,
    /// Whether the token embedding serves as the output head too (there is no `output.weight`).
    pub tied_head: bool,
}

/// The role of a tensor, as far as mixes distinguish roles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Head,
    Embedding,
    AttentionValue,
    AttentionKey,
    AttentionOutput,
    FeedForwardDown,
    Other,
}

impl Mix {
    /// Every mix, in the order of the table.
    pub fn all() -> impl Iterator<Item = Mix> {
        MIXES.iter().map(|row| row.mix)
    }

    /// The mix of this name, in any case.
    pub fn from_name(name: &str) -> Option<Mix> {
        MIXES
            .iter()
            .find(|row| row.name.eq_ignore_ascii_case(name))
            .map(|row| row.mix)
    }

    fn row(self) -> &'static Row {
        // The table has a row for every variant.
        MIXES
            .iter()
            .find(|row| row.mix == self)
            .unwrap_or(&MIXES[0])
    }

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The value of `general.file_type` (`llama_ftype` in llama.cpp).
    pub fn file_type(self) -> u32 {
        self.row().file_type
    }

    /// The type of the tensor `name`, or `None` if it keeps its type.
    ///
    /// `dims` are its dimensions in the order of the file: columns first.
    pub fn tensor_type(self, name: &str, dims: &[u64], model: &ModelShape) -> Option<DType> {
        if !is_quantizable(name, dims) {
            return None;
        }
        let base = self.row().base;
        let columns = *dims.first()?;
        if base.block_len() == 1 {
            return Some(base);
        }
        Some(fit_columns(self.wanted_type(name, columns, model), columns))
    }

    /// The type by the rules of the mix, even if the tensor's columns are not whole blocks
    /// of it.
    fn wanted_type(self, name: &str, columns: u64, model: &ModelShape) -> DType {
        let base = self.row().base;
        let role = role(name);
        let layer = Layer {
            index: layer_index(name),
            count: model.layers,
        };
        match role {
            Role::Head => self.head_type(columns),
            Role::Embedding if model.tied_head => self.head_type(columns),
            _ if self == Mix::MXFP4 => mxfp4_type(name, role, model),
            Role::AttentionValue if model.experts == 8 => DType::Q8_0,
            Role::AttentionKey if model.experts == 8 => DType::Q8_0,
            Role::AttentionValue => self.value_type(layer, model.queries_per_kv >= 4),
            Role::FeedForwardDown => self.down_type(layer),
            Role::AttentionOutput => self.attention_output_type(model.experts == 8),
            _ => base,
        }
    }

    fn head_type(self, columns: u64) -> DType {
        let base = self.row().base;
        let has_part_block = !columns.is_multiple_of(base.block_len() as u64);
        match self {
            Mix::Q8_0 | Mix::MXFP4 => DType::Q8_0,
            _ if has_part_block => DType::Q8_0,
            _ => DType::Q6_K,
        }
    }

    fn value_type(self, layer: Layer, many_queries_share_it: bool) -> DType {
        match self {
            Mix::Q2_K if many_queries_share_it => DType::Q4_K,
            Mix::Q2_K => DType::Q3_K,
            Mix::Q3_K_M if layer.index < 2 => DType::Q5_K,
            Mix::Q3_K_M => DType::Q4_K,
            Mix::Q3_K_L => DType::Q5_K,
            Mix::IQ4_NL | Mix::IQ4_XS if many_queries_share_it => DType::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if layer.deserves_more_bits() => DType::Q6_K,
            Mix::Q4_K_S if layer.index < 4 => DType::Q5_K,
            _ => self.row().base,
        }
    }

    fn down_type(self, layer: Layer) -> DType {
        match self {
            Mix::Q2_K => DType::Q3_K,
            Mix::Q3_K_M if layer.index < layer.count / 16 => DType::Q5_K,
            Mix::Q3_K_M => DType::Q4_K,
            Mix::Q3_K_L => DType::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if layer.deserves_more_bits() => DType::Q6_K,
            Mix::IQ4_NL | Mix::IQ4_XS | Mix::Q4_K_S if layer.is_early() => DType::Q5_K,
            _ => self.row().base,
        }
    }

    fn attention_output_type(self, eight_experts: bool) -> DType {
        match self {
            Mix::Q2_K
            | Mix::Q3_K_S
            | Mix::Q3_K_M
            | Mix::Q4_K_S
            | Mix::Q4_K_M
            | Mix::IQ4_NL
            | Mix::IQ4_XS
                if eight_experts =>
            {
                DType::Q5_K
            }
            _ if eight_experts => self.row().base,
            Mix::Q2_K => DType::Q3_K,
            Mix::Q3_K_M => DType::Q4_K,
            Mix::Q3_K_L => DType::Q5_K,
            _ => self.row().base,
        }
    }
}

impl core::fmt::Display for Mix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// A layer's position among all layers.
#[derive(Clone, Copy)]
struct Layer {
    index: usize,
    count: usize,
}

impl Layer {
    /// In the first eighth.
    fn is_early(self) -> bool {
        self.index < self.count / 8
    }

    /// In the first eighth, in the last one, or every third between.
    fn deserves_more_bits(self) -> bool {
        self.is_early()
            || self.index >= 7 * self.count / 8
            || (self.index - self.count / 8) % 3 == 2
    }
}

/// MXFP4 is meant for the weights of experts; other matrices then have 8 bits. In a
/// dense model all matrices except the embedding are MXFP4.
fn mxfp4_type(name: &str, role: Role, model: &ModelShape) -> DType {
    let is_dense = model.experts == 0 && role != Role::Embedding;
    if is_dense || name.contains("_exps.") {
        DType::MXFP4
    } else {
        DType::Q8_0
    }
}

/// The wanted type, or, where rows of `columns` elements are not whole blocks of it, the
/// nearest type with smaller blocks; F16 if that does not fit either.
fn fit_columns(wanted: DType, columns: u64) -> DType {
    let fits = |dtype: DType| columns.is_multiple_of(dtype.block_len() as u64);
    let smaller_block = match wanted {
        DType::Q2_K | DType::Q3_K => DType::Q4_0,
        DType::IQ4_XS => DType::IQ4_NL,
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        other => other,
    };
    [wanted, smaller_block]
        .into_iter()
        .find(|&dtype| fits(dtype))
        .unwrap_or(DType::F16)
}

/// Whether a tensor is a large matrix that can be quantized.
fn is_quantizable(name: &str, dims: &[u64]) -> bool {
    /// Parts of the names of matrices that are too small or too sensitive.
    const KEPT: [&str; 13] = [
        "_norm.weight",
        "ffn_gate_inp.weight", // the router of experts
        "position_embd",
        "token_types",
        "attn_rel_b",
        ".rel_pos",
        ".patch_embd",
        ".patch_merger",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv",
    ];
    let is_matrix = dims.iter().skip(1).any(|&n| n > 1);
    is_matrix && name.ends_with("weight") && !KEPT.iter().any(|part| name.contains(part))
}

fn role(name: &str) -> Role {
    const ROLES: [(&str, Role); 6] = [
        ("attn_qkv.weight", Role::AttentionValue),
        ("attn_kv_b.weight", Role::AttentionValue),
        ("attn_v.weight", Role::AttentionValue),
        ("attn_k.weight", Role::AttentionKey),
        ("attn_output.weight", Role::AttentionOutput),
        ("ffn_down", Role::FeedForwardDown),
    ];
    match name {
        "output.weight" => Role::Head,
        "token_embd.weight" | "per_layer_token_embd.weight" => Role::Embedding,
        _ => ROLES
            .iter()
            .find(|(part, _)| name.contains(part))
            .map_or(Role::Other, |r| r.1),
    }
}

/// The number in `blk.7.`; 0 in a name without one.
fn layer_index(name: &str) -> usize {
    let number = name
        .strip_prefix("blk.")
        .and_then(|rest| rest.split('.').next());
    number.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::format;

    use super::*;

    #[test]
    fn every_mix_finds_its_own_row() {
        for mix in Mix::all() {
            assert_eq!(mix.row().mix, mix);
            assert_eq!(Mix::from_name(&mix.name().to_lowercase()), Some(mix));
        }
        assert_eq!(Mix::from_name("Q4_K"), None);
        assert_eq!((Mix::Q4_1.file_type(), Mix::Q4_K_M.file_type()), (3, 15));
    }

    /// How many matrices of each type a model has: the embedding, and in each
    /// layer the named matrices with their columns and rows.
    fn count(
        mix: Mix,
        model: &ModelShape,
        embedding: [u64; 2],
        matrices: &[(&str, u64, u64)],
    ) -> BTreeMap<DType, usize> {
        let mut counts = BTreeMap::new();
        let mut add = |name: &str, dims: [u64; 2]| {
            let dtype = mix.tensor_type(name, &dims, model);
            *counts
                .entry(dtype.expect("a matrix is quantized"))
                .or_insert(0) += 1;
        };
        add("token_embd.weight", embedding);
        for layer in 0..model.layers {
            for (name, columns, rows) in matrices {
                add(&format!("blk.{layer}.{name}.weight"), [*columns, *rows]);
            }
        }
        counts
    }

    #[test]
    fn published_files_have_these_counts() {
        let gemma = ModelShape {
            layers: 18,
            queries_per_kv: 4,
            experts: 0,
            tied_head: true,
        };
        let matrices = [
            ("attn_q", 640, 1024),
            ("attn_k", 640, 256),
            ("attn_v", 640, 256),
            ("attn_output", 1024, 640),
            ("ffn_gate", 640, 2048),
            ("ffn_up", 640, 2048),
            ("ffn_down", 2048, 640),
        ];
        let counts = count(Mix::Q4_K_M, &gemma, [640, 262_144], &matrices);
        let expected = [
            (DType::Q8_0, 10),
            (DType::Q5_0, 81),
            (DType::Q4_K, 27),
            (DType::Q6_K, 9),
        ];
        assert_eq!(counts, BTreeMap::from(expected));

        let smollm = ModelShape {
            layers: 30,
            queries_per_kv: 3,
            experts: 0,
            tied_head: true,
        };
        let matrices = [
            ("attn_q", 576, 576),
            ("attn_k", 576, 192),
            ("attn_v", 576, 192),
            ("attn_output", 576, 576),
            ("ffn_gate", 576, 1536),
            ("ffn_up", 576, 1536),
            ("ffn_down", 1536, 576),
        ];
        let counts = count(Mix::Q4_1, &smollm, [576, 49_152], &matrices);
        assert_eq!(
            counts,
            BTreeMap::from([(DType::Q4_1, 210), (DType::Q8_0, 1)])
        );
        let counts = count(Mix::MXFP4, &smollm, [576, 49_152], &matrices);
        assert_eq!(
            counts,
            BTreeMap::from([(DType::MXFP4, 210), (DType::Q8_0, 1)])
        );
    }

    #[test]
    fn small_and_delicate_tensors_stay() {
        let model = ModelShape {
            layers: 4,
            queries_per_kv: 1,
            experts: 0,
            tied_head: false,
        };
        let kept: [(&str, &[u64]); 6] = [
            ("output_norm.weight", &[256]),
            ("blk.0.attn_q_norm.weight", &[64, 8]),
            ("blk.0.attn_q.bias", &[256, 2]),
            ("blk.0.ffn_gate_inp.weight", &[256, 8]),
            ("blk.0.attn_q.weight", &[256, 1]),
            ("token_embd.weight", &[]),
        ];
        for (name, dims) in kept {
            assert_eq!(Mix::Q4_0.tensor_type(name, dims, &model), None, "{name}");
            assert_eq!(Mix::F16.tensor_type(name, dims, &model), None, "{name}");
        }
        let odd = [48, 256];
        assert_eq!(
            Mix::Q4_0.tensor_type("blk.0.attn_q.weight", &odd, &model),
            Some(DType::F16)
        );
        let huge_index = format!("blk.{}.attn_v.weight", u64::MAX);
        let dtype = Mix::Q4_K_M.tensor_type(&huge_index, &[256, 256], &model);
        assert_eq!(dtype, Some(DType::Q6_K));
        let no_layers = ModelShape { layers: 0, ..model };
        let names = [
            "blk.0.attn_v.weight",
            "blk.9.ffn_down.weight",
            "output.weight",
        ];
        for (name, mix) in names
            .into_iter()
            .flat_map(|n| Mix::all().map(move |m| (n, m)))
        {
            assert!(mix.tensor_type(name, &[256, 256], &no_layers).is_some());
        }
    }
}

//! Attention by AVX2, FMA and F16C.

use super::Avx2;
use crate::kernels::attention::impl_attention;

impl_attention!(Avx2, [target_feature(enable = "avx2,fma,f16c")]);

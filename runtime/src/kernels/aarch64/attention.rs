//! Attention by NEON.

use super::Neon;
use crate::kernels::attention::impl_attention;

impl_attention!(Neon, [inline]);

//! AVX2, FMA and F16C.

mod integer;
mod vector;

pub(super) use integer::Maddubs;

use super::ymm::Ymm;
use crate::kernels::acts::{self, ActKind};

/// The AVX2 kernels: a value that exists only if the CPU can run them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The kernels, if this CPU has AVX2, FMA and F16C.
    pub(crate) fn new() -> Option<Avx2> {
        #[cfg(feature = "std")]
        let has = std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("f16c");
        #[cfg(not(feature = "std"))]
        let has = cfg!(all(
            target_feature = "avx2",
            target_feature = "fma",
            target_feature = "f16c"
        ));
        has.then_some(Avx2(()))
    }

    /// The kernels, where other kernels prove that the CPU runs them.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    #[inline(always)]
    pub(crate) unsafe fn assumed() -> Avx2 {
        Avx2(())
    }

    /// The lanes that multiply integers by AVX2 alone.
    pub(crate) fn integers(self) -> Ymm<Maddubs> {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { Ymm::new() }
    }

    /// [`acts::prepare`], compiled for this level.
    pub(crate) fn prepare(self, kind: ActKind, x: &[f32], dst: &mut [u8]) {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn prepare(level: Avx2, kind: ActKind, x: &[f32], dst: &mut [u8]) {
            acts::prepare(level, kind, x, dst);
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { prepare(self, kind, x, dst) }
    }
}

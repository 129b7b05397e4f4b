//! AVX-512 (F, BW, VL) and its VNNI: two groups of eight rows at once.

mod integer;
mod lanes;

use super::avx2::Avx2;

/// The AVX-512 kernels: a value that exists only if the CPU can run them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// The kernels, if this CPU has the features.
    pub(super) fn new(_: Avx2) -> Option<Avx512> {
        #[cfg(feature = "std")]
        let has = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512vnni");
        #[cfg(not(feature = "std"))]
        let has = cfg!(all(
            target_feature = "avx512f",
            target_feature = "avx512bw",
            target_feature = "avx512vl",
            target_feature = "avx512vnni"
        ));
        has.then_some(Avx512(()))
    }
}

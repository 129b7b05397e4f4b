//! The arithmetic of Ondol. Everything above it says what to compute; only this crate
//! knows how the CPU does it: `generic/` has what all instruction sets share, written
//! once over vectors; `x86/` and `aarch64/` have what each instruction set adds.
//!
//! # Names
//! A kernel's name says, in this order, what it does, on which weights, with which
//! activations and in which shape; its proof type (see `generic/simd.rs`) says at which
//! ISA:
//!
//! | part | words |
//! | --- | --- |
//! | what | `gemv` (weights times one token), `gemm` (times many), `prepare` (activations) |
//! | weights | a format's own name (`Q4_K`), or the panel type that it unpacks to: `OneScale<DEPTH>`, `TwoScales<DEPTH>`, `I8Panel`, `I16Panel` |
//! | activations | a block type: `I8Block`, `SplitBlock`, `I16Block`; or plain floats |
//! | shape | `P` panels of eight rows, `T` tokens |
//! | ISA | the proof type: `Scalar`, `Avx2`, `Avx512`, `Neon`, ... |
//!
//! # ISAs
//! [`Isa::Exact`] dequantizes the weights and computes in f32. The others
//! multiply integers, [`Isa::Scalar`] in plain Rust and the rest by SIMD, and
//! are equal bit for bit where the activations are integers (see [`ActKind`]).
//! f32 products (plain float weights, and the exact ISA) differ between
//! ISAs by their rounding, within a few units in the last place of the sum
//! of magnitudes.
//!
//! At any ISA an output element depends on its row of weights and its row of
//! prepared activations alone: not on the range of rows of a call, the number
//! of tokens, or the number of threads.
//!
//! This is an inner crate of Ondol: its interface may change with any version. Apps use
//! the crate `ondol`.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod generic;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use generic::acts::ActKind;
pub use generic::matrix::{Acts, Matrix, OutRows, Store};
pub use generic::simd::SMALL;
pub use generic::{attention, vector};

use alloc::boxed::Box;
use alloc::string::String;
use attention::Attention;
use core::ops::Range;
use generic::matmul::Matmul;
use generic::matrix::Call;
use ondol_models::quant::DType;
use vector::{Scalar, VectorOps};

/// The most tokens of a matmul whose activations keep 16 bits with low-bit weights. With
/// so few tokens a matmul waits for memory, so the finer activations cost nothing. And
/// speculation needs them: checking a few tokens in one pass must equal decoding them one
/// by one.
pub const FINE_TOKENS: usize = 32;

/// The list of ISAs, lowest first. Each has the name that `ONDOL_KERNELS` takes and, if it
/// is one of SIMD, its architecture and the function that makes its backend if the CPU has
/// the instructions.
macro_rules! isas {
    ($($(#[$doc:meta])* $isa:ident $name:literal $($arch:literal $backend:path)?;)*) => {
        /// How the arithmetic is done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Isa {
            $($(#[$doc])* $isa,)*
        }

        impl Isa {
            /// Every ISA, lowest first.
            pub const ALL: [Isa; [$($name),*].len()] = [$(Isa::$isa),*];

            /// The name that `ONDOL_KERNELS` takes.
            pub fn name(self) -> &'static str {
                match self {
                    $(Isa::$isa => $name,)*
                }
            }

            /// The backend of an ISA of SIMD, if this CPU has it.
            fn simd(self) -> Option<Backend> {
                match self {
                    $($(#[cfg(target_arch = $arch)] Isa::$isa => $backend(),)?)*
                    _ => None,
                }
            }
        }
    };
}

isas! {
    /// Dequantized weights and f32 activations.
    Exact "exact";
    /// Integers in plain Rust.
    Scalar "scalar";
    /// Integers by AVX2 and FMA.
    Avx2 "avx2" "x86_64" x86::avx2;
    /// The same with the dot products of AVX-VNNI.
    AvxVnni "avx-vnni" "x86_64" x86::avx_vnni;
    /// Integers by AVX-512 (F, BW, VL) with the dot products of its VNNI.
    Avx512 "avx512" "x86_64" x86::avx512;
    /// Integers by NEON, on any 64-bit Arm.
    Neon "neon" "aarch64" aarch64::neon;
    /// The same with the dot products of Armv8.2 (`sdot`).
    DotProd "dotprod" "aarch64" aarch64::dotprod;
    /// The same with the matrix products of Armv8.6 (`smmla`) as well.
    I8mm "i8mm" "aarch64" aarch64::i8mm;
}

impl Isa {
    /// The ISA of this name.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// The ISA that the environment variable `ONDOL_KERNELS` names, if it is set.
    ///
    /// # Errors
    /// [`UnknownIsa`] if no ISA has this name.
    #[cfg(feature = "std")]
    pub fn from_env() -> Result<Option<Isa>, UnknownIsa> {
        let name = std::env::var_os("ONDOL_KERNELS");
        name.map(|name| name.to_string_lossy().parse()).transpose()
    }
}

/// A name of kernels that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are no kernels named `{0}`; the known names are {names}",
    names = Isa::ALL.map(Isa::name).join(", ")
)]
pub struct UnknownIsa(pub String);

impl core::str::FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Isa, UnknownIsa> {
        Isa::from_name(name).ok_or_else(|| UnknownIsa(name.into()))
    }
}

impl core::fmt::Display for Isa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// What runs at one ISA.
#[derive(Clone, Copy)]
struct Backend {
    vector: &'static dyn VectorOps,
    attention: &'static dyn Attention,
    /// Attention whose products are those of floats.
    exact_attention: &'static dyn Attention,
    matmul: &'static dyn Matmul,
}

impl Backend {
    /// Proof types have no size, so boxing their values allocates nothing.
    fn new(
        vector: impl VectorOps + 'static,
        attention: impl Attention + 'static,
        exact_attention: impl Attention + 'static,
        matmul: impl Matmul + 'static,
    ) -> Backend {
        Backend {
            vector: Box::leak(Box::new(vector)),
            attention: Box::leak(Box::new(attention)),
            exact_attention: Box::leak(Box::new(exact_attention)),
            matmul: Box::leak(Box::new(matmul)),
        }
    }

    /// Plain Rust, which runs anywhere.
    fn scalar() -> Backend {
        Backend::new(Scalar, Scalar, Scalar, Scalar)
    }
}

/// The kernels of one ISA: a value that exists only if the CPU can run them.
#[derive(Clone, Copy)]
pub struct Kernels {
    isa: Isa,
    backend: Backend,
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Kernels").field(&self.isa).finish()
    }
}

impl Kernels {
    /// The fastest kernels that this CPU can run.
    pub fn detect() -> Kernels {
        let isas = Isa::ALL.into_iter().rev();
        isas.filter_map(Kernels::with_isa)
            .next()
            .unwrap_or(Kernels {
                isa: Isa::Scalar,
                backend: Backend::scalar(),
            })
    }

    /// The kernels of an ISA, if this CPU and this build have it.
    pub fn with_isa(isa: Isa) -> Option<Kernels> {
        let backend = match isa {
            Isa::Scalar => Backend::scalar(),
            Isa::Exact => {
                let simd = Isa::ALL.into_iter().find_map(Isa::simd);
                let backend = simd.unwrap_or_else(Backend::scalar);
                Backend {
                    attention: backend.exact_attention,
                    ..backend
                }
            }
            isa => isa.simd()?,
        };
        Some(Kernels { isa, backend })
    }

    /// The ISA.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Functions on rows of floats.
    pub fn vector(&self) -> &dyn VectorOps {
        self.backend.vector
    }

    /// Attention over a KV cache.
    pub fn attention(&self) -> &dyn Attention {
        self.backend.attention
    }

    /// The form of activations for a matmul of `tokens` tokens with weights of
    /// this type.
    pub fn act_kind(&self, dtype: DType, tokens: usize) -> ActKind {
        if self.isa == Isa::Exact {
            return ActKind::F32;
        }
        let kinds = match tokens > FINE_TOKENS {
            true => &[ActKind::I8Rounded, ActKind::I8, ActKind::I14, ActKind::I16][..],
            false => &[ActKind::I16Split, ActKind::I16],
        };
        let gains = |kind: &ActKind| kind.fits(dtype) && self.backend.matmul.gains_by(*kind, dtype);
        kinds.iter().copied().find(gains).unwrap_or(ActKind::F32)
    }

    /// Prepares one row of activations.
    ///
    /// A value that is not finite makes every product with its block NaN.
    ///
    /// # Panics
    /// If `dst` is shorter than `kind.bytes(x.len())` or not aligned to 4, or
    /// if the form is one of integers, but not I14, and `x` is not made of
    /// blocks of 32.
    pub fn prepare(&self, kind: ActKind, x: &[f32], dst: &mut [u8]) {
        self.backend.matmul.prepare(kind, x, dst);
    }

    /// Bytes of scratch that a thread needs for [`Self::matmul`] with rows of
    /// `cols` elements of this type.
    pub fn scratch_bytes(&self, dtype: DType, cols: usize) -> usize {
        self.backend.matmul.scratch_bytes(dtype, cols)
    }

    /// Computes the given rows of the product of weights and activations, for
    /// all tokens: `out[t][r] = sum over k of w[r][k] * acts[t][k]`.
    ///
    /// Activations of [`ActKind::F32`] go with any weights at any ISA;
    /// the integer forms are those that [`Self::act_kind`] gives. Ranges that start at
    /// multiples of 16 are fastest. `scratch` has at least [`Self::scratch_bytes`] bytes
    /// of any content, and each thread has its own.
    ///
    /// # Panics
    /// If rows are out of range, the scratch is too short, or the activations do not fit
    /// the weights. The planner prevents all three.
    pub fn matmul(
        &self,
        w: &Matrix,
        rows: Range<usize>,
        acts: &Acts,
        out: &OutRows,
        scratch: &mut [u8],
    ) {
        assert!(rows.end <= w.rows(), "rows out of range");
        assert!(
            self.backend.matmul.takes(acts.kind(), w.dtype()),
            "{:?} with {}",
            acts.kind(),
            w.dtype()
        );
        assert_eq!(
            acts.row_bytes(),
            acts.kind().bytes(w.cols()),
            "activations of another length"
        );
        self.backend.matmul.multiply(Call {
            w,
            rows,
            acts,
            out,
            scratch,
        });
    }
}

//! Measures the matmul kernels on one thread: GEMV in GB/s of weights, GEMM in
//! G multiply-adds/s, and beside them what plain loops reach in the same run.
//! Arguments choose formats by name.

use ondol_benches::ceilings::{self, Peaks};
use ondol_kernels::{Acts, Isa, Kernels, Matrix, OutRows, Store};
use ondol_models::quant::{DType, Layout, packed};
use std::time::Instant;

/// Inputs of a matmul: the width of a 1B-shaped model.
const COLS: usize = 2048;

/// Rows of the GEMV, too many for the caches.
const LONG: usize = 65536;

/// Rows of the GEMV whose weights stay in a cache.
const SHORT: usize = 512;

/// Rows and tokens of the GEMM.
const ROWS: usize = 512;
const TOKENS: usize = 256;

fn main() {
    let names: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let chosen = |dtype: &DType| {
        names.is_empty()
            || names
                .iter()
                .any(|name| DType::from_name(name) == Some(*dtype))
    };
    let isa = Isa::from_env().expect("ONDOL_KERNELS names an ISA");
    let kernels = isa.map_or_else(|| Some(Kernels::detect()), Kernels::with_isa);
    let kernels = kernels.expect("ONDOL_KERNELS names an ISA of this CPU");
    println!("ISA {}, one thread, {COLS} columns", kernels.isa());
    print_peaks(&Peaks::measure());
    println!(
        "{:8} {:>14} {:>14} {:>14} {:>14} {:>14} {:>14}",
        "format",
        "read loop GB/s",
        "gemv GB/s",
        "packed GB/s",
        "gemv in cache",
        "packed",
        "gemm GMAC/s"
    );
    for dtype in DType::all().filter(chosen) {
        let row_bytes = dtype.row_bytes(COLS).unwrap_or(0) as f64;
        let gemv = |layout: Layout, rows: usize| {
            if layout == Layout::Packed && !packed::can_pack(dtype) {
                return f64::NAN;
            }
            rows as f64 * row_bytes / seconds(&kernels, dtype, layout, rows, 1) / 1e9
        };
        let macs = (ROWS * COLS * TOKENS) as f64;
        let gemm = macs / seconds(&kernels, dtype, Layout::Rows, ROWS, TOKENS) / 1e9;
        println!(
            "{:8} {:14.2} {:14.2} {:14.2} {:14.2} {:14.2} {gemm:14.1}",
            dtype.name(),
            ceilings::read_bytes_per_s(LONG * row_bytes as usize, 1) / 1e9,
            gemv(Layout::Rows, LONG),
            gemv(Layout::Packed, LONG),
            gemv(Layout::Rows, SHORT),
            gemv(Layout::Packed, SHORT),
        );
    }
}

/// Prints the most multiply-adds/s that one thread can do with each instruction.
fn print_peaks(peaks: &Peaks) {
    let named = [
        ("maddubs", peaks.maddubs),
        ("dpbusd", peaks.dpbusd),
        ("f32 fma", peaks.fma),
    ];
    for (name, peak) in named {
        if let Some(peak) = peak {
            println!("ceiling of {name}: {:.1} GMAC/s", peak / 1e9);
        }
    }
}

/// The shortest of several runs.
fn seconds(kernels: &Kernels, dtype: DType, layout: Layout, rows: usize, tokens: usize) -> f64 {
    let data = vec![0x11; rows * dtype.row_bytes(COLS).unwrap_or(0)];
    let Some(w) = Matrix::new(dtype, layout, rows, COLS, &data) else {
        return f64::NAN;
    };
    let kind = kernels.act_kind(dtype, tokens);
    let x: Vec<f32> = (0..COLS).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut acts = vec![0; tokens * kind.bytes(COLS) + Acts::ALIGN];
    let skip = acts.as_ptr().align_offset(Acts::ALIGN);
    let acts = &mut acts[skip..];
    for row in acts[..tokens * kind.bytes(COLS)].chunks_exact_mut(kind.bytes(COLS)) {
        kernels.prepare(kind, &x, row);
    }
    let acts = Acts::new(kind, tokens, COLS, acts);
    let mut out = vec![0.0; tokens * rows];
    let mut scratch = vec![0; kernels.scratch_bytes(dtype, COLS)];
    // SAFETY: `out` has these elements, and nothing else uses it meanwhile.
    let out = unsafe { OutRows::new(out.as_mut_ptr(), rows, Store::Set) };
    let runs = (40_000_000 / data.len()).clamp(5, 200);
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        kernels.matmul(&w, 0..rows, &acts, &out, &mut scratch);
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

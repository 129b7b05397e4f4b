//! The chores of the workspace: `cargo xtask test`, and its parts.

mod aarch64;
mod api;
mod apps;
mod apt;
mod asm;
mod bench;
mod bindings;
mod both;
mod c;
mod candle;
mod count;
mod delegate;
mod firmware;
mod kotlin;
mod mca;
mod mobile;
mod models;
#[cfg(test)]
mod one_source;
mod onnxruntime;
mod openvino;
mod page;
mod plugin;
mod python;
#[cfg(test)]
mod rooms;
mod sample;
mod sanitize;
mod steps;
mod swift;
mod templates;
mod wheel;

use std::process::ExitCode;
use steps::Extent;

const HELP: &str = "\
cargo xtask <chore>

  check      formatting, lints and the tests inside the crates: what to run before a commit
  test       all but what says otherwise, in two sequences side by side; what CI runs
  beside     the second sequence of them: aarch64, firmware, apps
  full       as wholes what test runs a part of: models, firmware, android, ios,
             arm-records; and sanitize
  lint       cargo fmt --check, clippy and doc without warnings
  api        the public items of the crate `ondol` against docs/public-api.txt; with
             --write, writes them there
  unit       the tests of every crate, and the whole-path tests
  no-std     models, kernels and runtime without the standard library
  c          the C binding: programs in C and C++ with both libraries, under valgrind and
             with sanitizers; with --install DIR, installs the libraries, the header and
             the files for pkg-config and CMake there
  firmware   the library on boards that qemu emulates (test: all but RV64GC); bytes of flash
             and RAM
  apps       bindings --check, kotlin, swift and python, one after another; --long runs
             their tests for growth in full
  android    the AAR of the Kotlin library and its checks, and libraries of the C API
             (not part of test)
  kotlin     the Kotlin and Java library on this computer's JVM, and compiled against two
             levels of Android; --long runs the tests for leaks in full, --bench only
             prints what a call and a token cost (not part of test)
  sample     the sample app for Android under Robolectric (not part of test)
  ios        libraries for iOS (not part of test); an XCFramework where Xcode is
  bindings   writes the code that UniFFI generates for Swift; with --check, compares it
             with what is committed
  swift      the package `ios/` with the library on Linux: its tests, and the snippets of
             docs/ios.md (--long for more rounds); fetches Debian's Swift into a chroot
             ($ONDOL_TOOLS, 2.7 GB)
  hostile    20,000 damaged copies of the model `hello`
  templates  chat templates, ours and published ones, against jinja2; fetches both by pip
  models     the real models of the catalog against the reference records and the
             perplexity of two texts (test: the exact kernels on two records of each)
  delegate   the sample NPU plug-in: its C tests, with sanitizers too, and `ondol verify`
  openvino   the delegate for Intel NPUs, with OpenVINO's CPU in the NPU's place: its tests
             and `ondol verify`; fetches the pinned wheel by pip
  onnxruntime  the delegate for execution providers of ONNX Runtime, with the CPU's: its tests
             and `ondol verify` (test: on the built-in model); fetches the pinned wheel by pip
  candle     the delegate for GPUs, on candle's CPU: `ondol verify` (test: on the built-in
             model); --cuda runs it on an NVIDIA GPU, where there is one
  python     the Python package: ruff, mypy and its tests (--long for more rounds); with
             --wheel (not part of test), its tests over the wheel that it builds; fetches
             the tools by pip
  bench      the kernels against the machine's ceilings; with --peers, Ondol beside other
             engines (bench --help)
  aarch64    the kernels of 64-bit Arm on three cores that qemu emulates, and
             their agreement with the reference records
  arm-records  agreement with the whole records on the three cores, half an hour
             or more (not part of test)
  sanitize   the runtime's tests with AddressSanitizer and ThreadSanitizer, small ones in
             Miri where there is one (not part of test)
  mca        writes docs/arm.md: how fast the loops for 64-bit Arm are by llvm-mca's
             models, and instructions per token under qemu (not part of test)
  fuzz       the fuzz targets, a minute each (needs cargo-fuzz and nightly)
";

fn main() -> ExitCode {
    let chore = std::env::args().nth(1).unwrap_or_default();
    let rest: Vec<String> = std::env::args().skip(2).collect();
    let outcome = match chore.as_str() {
        "check" => steps::check(),
        "test" => steps::test(),
        "full" => steps::full(),
        "beside" => steps::beside(),
        "lint" => steps::lint(),
        "api" => api::api(&rest),
        "unit" => steps::unit(),
        "no-std" => steps::no_std(),
        "c" => c::c(&rest),
        "firmware" => firmware::firmware(Extent::All),
        "android" => mobile::android(),
        "ios" => mobile::ios(),
        "kotlin" => kotlin::kotlin(&rest),
        "sample" => sample::sample(),
        "bindings" => bindings::bindings(&rest),
        "swift" => swift::swift(&rest),
        "apps" => apps::apps(&rest),
        "hostile" => steps::hostile(),
        "templates" => templates::templates(),
        "models" => models::models(Extent::All),
        "delegate" => delegate::delegate(),
        "openvino" => openvino::openvino(),
        "candle" => candle::chore(&rest),
        "onnxruntime" => onnxruntime::onnxruntime(Extent::All),
        "python" => python::python(&rest),
        "bench" => bench::bench(&rest),
        "aarch64" => aarch64::aarch64(),
        "arm-records" => aarch64::records(),
        "sanitize" => sanitize::sanitize(),
        "mca" => mca::mca(),
        "fuzz" => steps::fuzz(),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("xtask: {failed} failed");
            ExitCode::FAILURE
        }
    }
}

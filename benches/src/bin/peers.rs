//! Ondol beside other engines: `cargo xtask bench --peers`.

use clap::{Parser, ValueEnum};
use ondol_benches::engines::Engine;
use ondol_benches::files::{FORMATS, MODELS, Shelf};
use ondol_benches::machine::{self, Machine};
use ondol_benches::results::{Isa, Results, Run, Test};
use ondol_benches::suite::{Suite, default_tests};
use ondol_benches::{Result, builds, root};
use std::path::PathBuf;

/// Measures Ondol beside other engines on the same files, in alternation, and writes
/// a table, a plot and all figures to benches/results/
#[derive(Parser)]
#[command(
    name = "cargo xtask bench",
    after_help = "\
Tests are ppN (prefill), tgN (decode), start (cold start to the first token) and busyN (decode while
a spinning thread has one core). Results of the same day, machine and --isa go to one file; what is
measured again replaces what was there. Peers and model files are made once and kept in target/.

Without options, or with names of formats, it measures the kernels instead, against what the machine
can do at most.

Examples:
  cargo xtask bench
  cargo xtask bench Q4_0 Q4_K
  cargo xtask bench --peers --quick
  cargo xtask bench --peers
  cargo xtask bench --peers llama.cpp --isa avx2 --models 1b --formats Q4_0,Q4_K_M --rounds 5
  cargo xtask bench --peers --models smollm2 --tests pp512,tg128 --llama-cpp ../llama.cpp/build"
)]
struct Args {
    /// The engines to be measured beside Ondol [default: all]
    #[arg(long, value_name = "PEER,..", value_delimiter = ',', num_args = 0..=1)]
    peers: Vec<Peer>,
    /// What the engines may use of the CPU
    #[arg(long, default_value = "native")]
    isa: Isa,
    /// Models
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', default_values = MODELS)]
    models: Vec<String>,
    /// Formats, as `ondol quantize` names them
    #[arg(long, value_name = "TYPE,..", value_delimiter = ',', default_values = FORMATS)]
    formats: Vec<String>,
    /// Tests [default: pp512,tg128,start; for Q4_0 and Q4_K_M long prompts, for Q4_0 a busy machine]
    #[arg(long, value_name = "TEST,..", value_delimiter = ',')]
    tests: Vec<Test>,
    /// Turns of every engine
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Runs of which a turn gives the median
    #[arg(long, value_name = "N", default_value_t = 2)]
    repeat: usize,
    /// Threads of every engine
    #[arg(long, short, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// One round of small tests on one small file, into target/, to see that all works
    #[arg(long, conflicts_with_all = ["models", "formats", "tests", "rounds", "repeat"])]
    quick: bool,
    /// Make peers and files, and measure nothing
    #[arg(long)]
    prepare: bool,
    /// A build of llama.cpp for this --isa, instead of one of our own
    #[arg(long, value_name = "DIR")]
    llama_cpp: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Peer {
    #[value(name = "llama.cpp")]
    LlamaCpp,
    Candle,
}

fn main() -> Result<()> {
    let mut args = Args::parse();
    if args.quick {
        (args.rounds, args.repeat) = (1, 1);
        (args.models, args.formats) = (vec!["smollm2".into()], vec!["Q4_1".into()]);
        args.tests = vec![
            Test::Prefill(128),
            Test::Decode(32),
            Test::Start,
            Test::Busy(32),
        ];
    }
    let ondol = builds::ondol_program()?;
    let suite = Suite {
        engines: engines(&args, &ondol)?,
        threads: args.threads,
        rounds: args.rounds,
        repeat: args.repeat,
    };
    let shelf = Shelf::open(&ondol)?;
    let mut files = Vec::new();
    for model in &args.models {
        for format in &args.formats {
            files.push(shelf.file(model, format)?);
        }
    }
    if args.prepare {
        return Ok(());
    }
    let (path, mut results) = results(&args)?;
    results.runs.push(Run {
        started: machine::now(),
        commit: machine::commit(),
        engines: suite
            .engines
            .iter()
            .map(|e| (e.name(), e.version().to_owned()))
            .collect(),
        measurements: Vec::new(),
    });
    for file in &files {
        let tests = match args.tests.as_slice() {
            [] => default_tests(&file.model, &file.format),
            chosen => chosen.to_vec(),
        };
        for test in tests {
            let found = suite.measure(&shelf, file, test)?;
            if let Some(run) = results.runs.last_mut() {
                run.measurements.push(found);
            }
            // After each measurement, so that an interrupted run keeps its results.
            results.save(&path)?;
        }
    }
    println!("{}", path.with_extension("md").display());
    Ok(())
}

fn engines(args: &Args, ondol: &std::path::Path) -> Result<Vec<Box<dyn Engine>>> {
    let wanted = |peer| args.peers.is_empty() || args.peers.contains(&peer);
    let ours = |packed| builds::ondol(ondol, args.isa, args.threads, packed);
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(ours(true)), Box::new(ours(false))];
    if wanted(Peer::LlamaCpp) {
        let existing = args.llama_cpp.as_deref();
        engines.push(Box::new(builds::llama_cpp(
            args.isa,
            args.threads,
            existing,
        )?));
    }
    if wanted(Peer::Candle) {
        engines.push(Box::new(builds::candle(args.isa, args.threads)?));
    }
    Ok(engines)
}

/// The path of the results' file, and the results that it already has.
fn results(args: &Args) -> Result<(PathBuf, Results)> {
    let machine = Machine::describe();
    let now = machine::now();
    let date = now.get(..10).unwrap_or("undated");
    let name = format!("{date}-{}-{}.json", machine.slug(), args.isa.as_str());
    let folder = match args.quick {
        true => builds::target().join("bench-quick"),
        false => root().join("benches/results"),
    };
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    let fresh = Results {
        machine,
        isa: args.isa,
        threads: args.threads,
        runs: Vec::new(),
    };
    let results = match path.exists() && !args.quick {
        true => Results::load(&path)?,
        false => fresh,
    };
    if results.threads != args.threads {
        let threads = results.threads;
        return Err(format!(
            "{} is of {threads} threads: move it away first",
            path.display()
        )
        .into());
    }
    Ok((path, results))
}

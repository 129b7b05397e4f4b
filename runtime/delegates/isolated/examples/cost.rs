//! Measures what a job costs more in a process of its own: `cost LIBRARY`.
//!
//! The values have the sizes of a span of SmolLM2 between two attentions. The operations
//! are cheap, so that most of the time is overhead. Jobs run in this process and in another in
//! turns; the program prints medians in microseconds.

use ondol::delegate::segment::{Node, Op, Role, RowFn, Segment};
use ondol::delegate::{Buffer, Delegate, DeviceSession, Outcome, Place};
use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Columns of a span's outputs: the residual, queries, keys and values. The span's inputs have a
/// quarter fewer columns; here they have the same.
const COLS: [usize; 4] = [576, 576, 192, 192];
const JOBS: usize = 400;
const TURNS: usize = 5;
const LONG: Duration = Duration::from_secs(60);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let library: PathBuf = match env::args_os().nth(1) {
        // This program is its own helper.
        Some(argument) if argument == "serve" => {
            return Err(ondol_delegate_isolated::serve().into());
        }
        Some(library) => library.into(),
        None => return Err("usage: cost LIBRARY".into()),
    };
    for rows in [1, 256] {
        // SAFETY: the user trusts the library.
        let in_process = unsafe { Delegate::load(&library) }?;
        let mut ways = [
            Bench::new(in_process, rows)?,
            Bench::new(isolated(&library)?, rows)?,
        ];
        for _ in 0..TURNS {
            let [one, other] = &mut ways;
            let (one, other) = (one.median()?, other.median()?);
            println!(
                "{rows:3} rows: in process {one:7.1}, isolated {other:7.1}, difference {:7.1}",
                other - one
            );
        }
    }
    Ok(())
}

fn isolated(library: &Path) -> Result<Delegate> {
    let mut helper = Command::new(env::current_exe()?);
    helper.arg("serve");
    Ok(ondol_delegate_isolated::open(library, helper)?)
}

/// A session with its buffers.
struct Bench {
    session: DeviceSession,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
}

impl Bench {
    fn new(device: Delegate, rows: usize) -> Result<Bench> {
        let program = device.compile(&segment(rows))?;
        let buffers = || COLS.iter().map(|cols| Buffer::new(&device, cols * rows));
        Ok(Bench {
            session: DeviceSession::new(vec![program])?,
            inputs: buffers().collect::<std::result::Result<_, _>>()?,
            outputs: buffers().collect::<std::result::Result<_, _>>()?,
        })
    }

    /// The median of the times from a submit to the end of its job.
    fn median(&mut self) -> Result<f64> {
        let times = (0..JOBS).map(|_| self.run());
        let mut times = times.collect::<Result<Vec<_>>>()?;
        times.sort_unstable();
        Ok(times[JOBS / 2].as_secs_f64() * 1e6)
    }

    fn run(&mut self) -> Result<Duration> {
        let buffers = self.inputs.iter().chain(&self.outputs).enumerate();
        let places = buffers.map(|(tensor, buffer)| Place {
            tensor,
            buffer,
            offset: 0,
        });
        let began = Instant::now();
        // SAFETY: the buffers live longer than the session, and nothing else uses them.
        let mut job = unsafe { self.session.submit(0, places, LONG) }?;
        match job.wait(LONG) {
            Outcome::Done(_) => Ok(began.elapsed()),
            Outcome::Failed(error) | Outcome::Stuck(error) => Err(error.into()),
            Outcome::Running => Err("a job takes a minute".into()),
        }
    }
}

/// Scales each of its inputs.
fn segment(rows: usize) -> Segment {
    let mut segment = Segment {
        name: "scales".into(),
        rows,
        tensors: Vec::new(),
        nodes: Vec::new(),
    };
    for role in [Role::Input, Role::Output] {
        for cols in COLS {
            segment.push(role.clone(), rows, cols);
        }
    }
    segment.nodes.extend((0..COLS.len()).map(|input| Node {
        op: Op::Row(RowFn::Scale { factor: 2.0 }),
        inputs: vec![input],
        out: COLS.len() + input,
    }));
    segment
}

//! Level `soak`: thousands of calls on one handle. Two programs run at once, every
//! result is the same bits as the first, and nothing grows.

use crate::draw::Draw;
use crate::op;
use crate::report::{Level, Text};
use crate::segments::{Bench, Values};
use crate::{Kit, Result};
use ondol::delegate::segment::Segment;
use ondol::machine::{ProcessMemory, process_memory};

/// The calls of a program after which memory is measured for the first time: until then,
/// allocators and drivers fill their caches.
const WARM: usize = 500;
/// The most rows of a program: a call is to be short.
const ROWS: usize = 16;
/// The allowed growth of the process' resident memory, in kilobytes.
const RESIDENT_KB: f64 = 4096.0;
/// The allowed growth of its address space, in kilobytes.
const VIRTUAL_KB: f64 = 65_536.0;
/// The allowed shrinking of the device's free memory, in kilobytes.
const DEVICE_KB: f64 = 4096.0;

/// Memory that is measured, in kilobytes; `None` if the system or the device does not report it.
struct Watched {
    resident: Option<f64>,
    virtual_size: Option<f64>,
    device_free: Option<f64>,
}

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    let calls = kit.setup.soak;
    say(&format!("{calls} calls of two programs at once"));
    let title = Text::new(
        format!("{calls} calls on one handle, two programs at once: the same bits every time"),
        format!("한 핸들에서 두 프로그램을 동시에 {calls}회 호출: 매번 비트까지 같은 결과"),
    );
    match soak(kit, calls) {
        Err(error) => level.holds("soak.bits", title, Err(error)),
        Ok((before, after)) => {
            level.holds("soak.bits", title, Ok(()));
            growth(level, &before, &after);
        }
    }
    Ok(())
}

/// Runs both programs and returns what was used after the first calls and at the end.
fn soak(kit: &Kit, calls: usize) -> Result<(Watched, Watched), String> {
    let mut runners = Vec::new();
    for (index, segment) in segments(kit)?.iter().enumerate() {
        runners.push(Runner::new(kit, segment, index)?);
    }
    let warm = WARM.min(calls / 2);
    both(&mut runners, warm)?;
    let before = Watched::now(kit);
    both(&mut runners, calls - warm)?;
    Ok((before, Watched::now(kit)))
}

/// Two programs of different shapes.
fn segments(kit: &Kit) -> Result<Vec<Segment>, String> {
    let mut draw = kit.draw("soak");
    let rows = kit.rows_up_to(ROWS);
    let forms = kit.delegate.info().quants.iter();
    for &form in forms {
        let both = [(48, 512), (80, 1024)].map(|(n, k)| {
            let weights = draw.normal(n * k);
            op::matmul(form, rows, &weights, k, None)
        });
        if both.iter().all(|segment| kit.takes(segment) == Ok(true)) {
            return Ok(both.into());
        }
    }
    Err("the device takes no matmul of 512 and 1024 columns".to_owned())
}

/// A program with inputs in turn and the first result for each.
struct Runner {
    bench: Bench,
    inputs: Vec<Vec<Vec<f32>>>,
    expected: Vec<Values>,
    calls: usize,
}

impl Runner {
    fn new(kit: &Kit, segment: &Segment, index: usize) -> Result<Runner, String> {
        let mut draw: Draw = kit.draw(&format!("soak {index}"));
        let len = segment.rows * segment.tensors[0].cols;
        let inputs: Vec<_> = (0..4).map(|_| vec![draw.normal(len)]).collect();
        let mut bench = op::bench(kit, segment)?;
        let run = |given: &Vec<Vec<f32>>| bench.run(given).map_err(|e| e.to_string());
        let expected = inputs.iter().map(run).collect::<Result<_, _>>()?;
        Ok(Runner {
            bench,
            inputs,
            expected,
            calls: 0,
        })
    }

    fn run(&mut self, calls: usize) -> Result<(), String> {
        for _ in 0..calls {
            let at = self.calls % self.inputs.len();
            self.calls += 1;
            let found = self.bench.run(&self.inputs[at]);
            let found = found.map_err(|e| format!("call {}: {e}", self.calls))?;
            if !same_bits(&found, &self.expected[at]) {
                return Err(format!(
                    "call {} gave other bits than the first",
                    self.calls
                ));
            }
        }
        Ok(())
    }
}

fn same_bits(a: &Values, b: &Values) -> bool {
    let bits =
        |values: &Values| -> Vec<u32> { values.iter().flatten().map(|x| x.to_bits()).collect() };
    bits(a) == bits(b)
}

/// Every runner on a thread of its own.
fn both(runners: &mut [Runner], calls: usize) -> Result<(), String> {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for runner in runners {
            let thread = std::thread::Builder::new();
            let thread = thread.spawn_scoped(scope, move || runner.run(calls));
            threads.push(thread.map_err(|e| format!("no thread could be made: {e}"))?);
        }
        // All threads are joined before the first error is returned.
        let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let panicked = |_| Err("a thread panicked".to_owned());
        ends.into_iter()
            .try_for_each(|end| end.unwrap_or_else(panicked))
    })
}

/// Free memory of the device; `None` if it does not tell.
fn free_memory(kit: &Kit) -> Option<u64> {
    let info = kit.delegate.read_info().ok()?;
    (info.memory > 0).then_some(info.memory_free)
}

impl Watched {
    fn now(kit: &Kit) -> Watched {
        let ProcessMemory {
            resident,
            virtual_size,
            ..
        } = process_memory(None);
        let kb = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / 1024.0);
        Watched {
            resident: kb(resident),
            virtual_size: kb(virtual_size),
            device_free: kb(free_memory(kit)),
        }
    }
}

fn growth(level: &mut Level, before: &Watched, after: &Watched) {
    let watched = [
        (
            "soak.resident",
            Text::new("growth of resident memory", "상주 메모리 증가"),
            before.resident.zip(after.resident),
            RESIDENT_KB,
            "the system doesn't report it",
        ),
        (
            "soak.virtual",
            Text::new("growth of the address space", "주소 공간 증가"),
            before.virtual_size.zip(after.virtual_size),
            VIRTUAL_KB,
            "the system doesn't report it",
        ),
        (
            "soak.device-memory",
            Text::new(
                "memory that the device does not give back",
                "반환되지 않은 장치 메모리",
            ),
            after.device_free.zip(before.device_free),
            DEVICE_KB,
            "the device doesn't report its free memory",
        ),
    ];
    for (id, title, found, limit, why_not) in watched {
        match found {
            Some((before, after)) => {
                let grown = (after - before).max(0.0);
                level.at_most(id, title, grown, limit).unit = "KB".to_owned();
            }
            None => level.not_measured(id, title, why_not),
        }
    }
}

//! Level `abi`, the plug-in's function table: versions, missing arguments, life cycles,
//! threads, and damaged programs.

use crate::draw::normal;
use crate::report::{Level, Text};
use crate::segments::Bench;
use crate::{Kit, Result, load, op};
use ondol::delegate::segment::{Node, Op, Role, RowFn, Segment};
use ondol::delegate::{Delegate, ffi};
use ondol::machine::process_memory;
use std::path::Path;
use std::ptr;
use std::time::Duration;

/// How many times the device is opened and closed.
const CYCLES: usize = 1000;
/// The allowed growth of the process's resident memory meanwhile, in kilobytes.
const LEAK_KB: f64 = 2048.0;
/// The plug-in gets this many programs with a flipped bit, and as many that end too early.
const DAMAGED: usize = 256;
const DEADLINE: Duration = Duration::from_secs(5);

pub fn run(kit: &mut Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    say("versions and missing arguments");
    let title = Text::new("another major version is refused", "다른 주 버전은 거부됨");
    level.holds("abi.major", title, majors(&kit.setup.plugin));
    let title = Text::new("any minor version is taken", "모든 부 버전을 받아들임");
    level.holds("abi.minor", title, minors(&kit.setup.plugin));
    let title = Text::new(
        "a NULL error struct causes no crash; a device that doesn't exist is an error",
        "오류 구조체가 없어도 중단되지 않고, 없는 장치는 오류로 보고됨",
    );
    level.holds("abi.null", title, nulls(&kit.setup.plugin));
    let title = Text::new(
        "a broken graph is an error",
        "잘못된 그래프는 오류로 보고됨",
    );
    level.holds("abi.graph", title, broken_graph(&kit.delegate));
    let [segment, other] = blocks(kit);
    say("damaged programs");
    let title = Text::new(
        format!("of {DAMAGED} programs with a flipped bit and {DAMAGED} cut short none is taken"),
        format!("비트가 반전된 프로그램 {DAMAGED}개와 잘린 프로그램 {DAMAGED}개가 모두 거부됨"),
    );
    level.holds("abi.blob", title, damaged(&kit.delegate, &segment));
    let title = Text::new(
        "two saved programs of one shape compute the same as before",
        "저장한 같은 형태의 두 프로그램이 이전과 같은 결과를 냄",
    );
    level.holds("abi.save", title, saved(&kit.delegate, [&segment, &other]));
    say("two threads at once");
    let title = Text::new(
        "two threads with sessions of their own compute the same",
        "두 스레드가 각자의 세션에서 같은 결과를 냄",
    );
    level.holds("abi.threads", title, threads(&kit.delegate, &segment));
    say(&format!("{CYCLES} times open and close"));
    cycles(kit, level, &segment);
    Ok(())
}

/// Gets the function table of a plug-in.
#[allow(unsafe_code)] // Loading a library runs its code.
fn table(plugin: &Path, major: u32, minor: u32) -> Result<Option<&'static ffi::Api>, String> {
    // SAFETY: as for `open`; the kit has loaded the library before.
    unsafe {
        let library = libloading::Library::new(plugin).map_err(|e| e.to_string())?;
        let get_api = library
            .get::<ffi::GetApi>(ffi::GET_API)
            .map_err(|e| e.to_string())?;
        let mut found: *const ffi::Api = ptr::null();
        let status = get_api(major, minor, &mut found);
        // The delegate that the kit opened from the library keeps it loaded.
        Ok(match status {
            ffi::OK => found.as_ref(),
            _ => None,
        })
    }
}

fn majors(plugin: &Path) -> Result<(), String> {
    for major in [0, 2, u32::MAX] {
        if table(plugin, major, 0)?.is_some() {
            return Err(format!("it gave a table for version {major}.0"));
        }
    }
    Ok(())
}

fn minors(plugin: &Path) -> Result<(), String> {
    for minor in [0, 1, 99] {
        if table(plugin, 1, minor)?.is_none() {
            return Err(format!("it refused a host of version 1.{minor}"));
        }
    }
    Ok(())
}

#[allow(unsafe_code)] // Calls the plug-in's functions.
fn nulls(plugin: &Path) -> Result<(), String> {
    let api = table(plugin, 1, 0)?.ok_or("no table")?;
    let missing = || "an entry of the table is missing".to_owned();
    let mut device = ptr::null_mut();
    let open = api.device_open.ok_or_else(missing)?;
    // SAFETY: the contract lets the error be null, and has `*_free` take null.
    unsafe {
        if open(u32::MAX, &mut device, ptr::null_mut()) == ffi::OK {
            return Err("it opened the device 4294967295".to_owned());
        }
        api.device_close.ok_or_else(missing)?(ptr::null_mut());
        api.program_free.ok_or_else(missing)?(ptr::null_mut());
        api.session_free.ok_or_else(missing)?(ptr::null_mut());
        api.buffer_release.ok_or_else(missing)?(ptr::null_mut());
        api.job_free.ok_or_else(missing)?(ptr::null_mut());
    }
    Ok(())
}

/// A node that reads a missing tensor, and one that reads a tensor that a later node writes.
fn broken_graph(delegate: &Delegate) -> Result<(), String> {
    let rows = delegate.info().rows[0];
    for input in [7, 1] {
        let mut segment = op::empty("broken", rows);
        segment.push(Role::Input, rows, 32);
        let out = segment.push(Role::Output, rows, 32);
        segment.nodes.push(Node {
            op: Op::Row(RowFn::Scale { factor: 2.0 }),
            inputs: vec![input],
            out,
        });
        if delegate.compile(&segment).is_ok() {
            return Err(format!("it compiled a node that reads tensor {input}"));
        }
    }
    Ok(())
}

/// Two small matmuls of one name and shape with different weights, in the first weight
/// format that the device accepts; additions if it accepts none.
fn blocks(kit: &Kit) -> [Segment; 2] {
    let rows = kit.rows_up_to(kit.rows().min(64));
    let mut draw = kit.draw("abi");
    for &form in &kit.delegate.info().quants {
        let mut block = || op::matmul(form, rows, &draw.normal(64 * 1024), 1024, None);
        let both = [block(), block()];
        if kit.takes(&both[0]) == Ok(true) {
            return both;
        }
    }
    [sum(rows), sum(rows)]
}

fn sum(rows: usize) -> Segment {
    let mut segment = op::empty("sum", rows);
    let x = segment.push(Role::Input, rows, 64);
    let y = segment.push(Role::Input, rows, 64);
    let out = segment.push(Role::Output, rows, 64);
    segment.nodes.push(Node {
        op: Op::Row(RowFn::Add),
        inputs: vec![x, y],
        out,
    });
    segment
}

fn inputs(segment: &Segment) -> Vec<Vec<f32>> {
    let inputs = segment.interface().0;
    let values = |index: usize| normal(index as u64, segment.rows * segment.tensors[index].cols);
    inputs.into_iter().map(values).collect()
}

fn damaged(delegate: &Delegate, segment: &Segment) -> Result<(), String> {
    let words = |e: ondol::delegate::DelegateError| e.to_string();
    let blob = delegate
        .compile(segment)
        .and_then(|p| p.save())
        .map_err(words)?;
    for i in 0..DAMAGED {
        let at = i * blob.len() / DAMAGED;
        let mut flipped = blob.clone();
        flipped[at] ^= 1 << (i % 8);
        if delegate.load_program(&flipped).is_ok() {
            return Err(format!("it took a program with a flipped bit in byte {at}"));
        }
        if delegate.load_program(&blob[..at]).is_ok() {
            return Err(format!("it took the first {at} bytes of a program"));
        }
    }
    Ok(())
}

/// Saves two programs, loads both, and compares.
fn saved(delegate: &Delegate, segments: [&Segment; 2]) -> Result<(), String> {
    let run = || {
        let programs = segments.map(|segment| delegate.compile(segment));
        let blobs = programs.iter().map(|program| program.clone()?.save());
        let blobs = blobs.collect::<Result<Vec<_>, _>>()?;
        let again = blobs.iter().map(|blob| delegate.load_program(blob));
        // Both are loaded before either runs.
        let again = again.collect::<Result<Vec<_>, _>>()?;
        for ((segment, program), again) in segments.into_iter().zip(programs).zip(again) {
            let given = inputs(segment);
            let first = Bench::of_program(delegate, program?, segment, DEADLINE)?.run(&given)?;
            let second = Bench::of_program(delegate, again, segment, DEADLINE)?.run(&given)?;
            if first != second {
                return Ok(false);
            }
        }
        Ok(true)
    };
    match run() {
        Ok(true) => Ok(()),
        Ok(false) => Err("the results differ".to_owned()),
        Err(error) => Err(ondol::delegate::DelegateError::to_string(&error)),
    }
}

fn threads(delegate: &Delegate, segment: &Segment) -> Result<(), String> {
    let program = delegate.compile(segment).map_err(|e| e.to_string())?;
    let given = inputs(segment);
    let work = || {
        let mut bench = Bench::of_program(delegate, program.clone(), segment, DEADLINE)?;
        (0..20)
            .map(|_| bench.run(&given))
            .collect::<Result<Vec<_>, _>>()
    };
    let both = std::thread::scope(|scope| {
        let other = std::thread::Builder::new().spawn_scoped(scope, work)?;
        Ok((work(), other.join()))
    });
    let both = both.map_err(|e: std::io::Error| format!("no second thread could be made: {e}"))?;
    match both {
        (Ok(mine), Ok(Ok(others))) if mine == others => Ok(()),
        (Ok(_), Ok(Ok(_))) => Err("the results differ".to_owned()),
        (Err(error), _) | (_, Ok(Err(error))) => Err(error.to_string()),
        (_, Err(_)) => Err("a thread panicked".to_owned()),
    }
}

/// Opens, compiles, runs and closes repeatedly, and measures the memory of the process.
fn cycles(kit: &Kit, level: &mut Level, segment: &Segment) {
    let cycle = || -> Result<(), String> {
        let delegate = load(&kit.setup.plugin, kit.setup.device).map_err(|e| e.to_string())?;
        let bench = Bench::new(&delegate, segment, DEADLINE);
        bench
            .and_then(|mut bench| bench.run(&inputs(segment)))
            .map_err(|e| e.to_string())?;
        Ok(())
    };
    let title = Text::new(
        format!("the device can be opened, used and closed {CYCLES} times"),
        format!("장치를 {CYCLES}번 열고 사용하고 닫을 수 있음"),
    );
    // The first cycles fill caches of the allocator and the driver.
    let first = (0..CYCLES / 10).try_for_each(|_| cycle());
    let resident_kb = || {
        process_memory(None)
            .resident
            .map(|bytes| bytes as f64 / 1024.0)
    };
    let before = resident_kb();
    let rest = first.and_then(|()| (CYCLES / 10..CYCLES).try_for_each(|_| cycle()));
    level.holds("abi.cycles", title, rest);
    let title = Text::new(
        "memory that the plug-in does not free",
        "반환되지 않은 메모리",
    );
    match before.zip(resident_kb()) {
        Some((before, after)) => {
            let gate = level.at_most("abi.leak", title, (after - before).max(0.0), LEAK_KB);
            gate.unit = "KB".to_owned();
        }
        None => level.not_measured("abi.leak", title, "the system doesn't report it"),
    }
}

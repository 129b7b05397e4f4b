//! Experts that are not used stay on disk: a file that is twice as large as the memory
//! answers, with the same bits; and memory pressure drops the experts that were not used for
//! the longest time.

#![cfg(target_os = "linux")]

use ondol::{CancelToken, Governor, KvType, MemoryPressure, Model, SessionOptions};
use ondol_tests::random_model::RandomModel;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variables by which this program runs itself under a limit: the model, and the file
/// for the bits.
const CHILD: &str = "ONDOL_TEST_LIMITED";
/// How the child ends if it can't be limited.
const REFUSED: i32 = 77;
const MEMORY: &str = "/sys/fs/cgroup/memory";

/// 64 experts in each of 4 layers, of which a token uses two: 200 MB.
fn large() -> RandomModel {
    RandomModel {
        layers: 4,
        width: 256,
        hidden: 256,
        ..RandomModel::small("qwen3moe")
    }
    .with("expert_count", 64u32)
    .with("expert_feed_forward_length", 256u32)
}

fn file(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.gguf"));
    let mut out = BufWriter::new(File::create(&path).unwrap());
    large().write(&mut out).unwrap();
    out.flush().unwrap();
    out.get_ref().sync_all().unwrap();
    path
}

/// The bits of the logits after a prompt and of some decoded tokens.
fn bits(model: &Model, governor: &Governor, between: impl Fn(usize)) -> Vec<u8> {
    let options = SessionOptions {
        threads: Some(1),
        context: Some(64),
        kv_type: KvType::F16,
        governor: governor.clone(),
        ..SessionOptions::default()
    };
    let mut session = model.session(&options).unwrap();
    let mut bits = Vec::new();
    let mut add = |logits: &[f32]| bits.extend(logits.iter().flat_map(|x| x.to_le_bytes()));
    add(session.prefill(&[3, 77], &CancelToken::new()).unwrap());
    for step in 0..8 {
        between(step);
        add(session.decode((step as u32 * 31 + 5) % 300).unwrap());
    }
    bits
}

fn mapped(path: &Path) -> memmap2::Mmap {
    // SAFETY: nobody writes to the file.
    unsafe { memmap2::Mmap::map(&File::open(path).unwrap()).unwrap() }
}

/// Whether this system and this file system drop a file's pages when asked to.
fn can_drop(path: &Path) -> bool {
    const BYTES: usize = 1 << 20;
    let map = mapped(path);
    let pages = map[..BYTES].iter().step_by(4096);
    assert!(
        pages.map(|&byte| u64::from(byte)).sum::<u64>() > 0,
        "nothing was read"
    );
    let before = cached(path);
    // SAFETY: the pages of a map that is only read have the same contents when they are
    // loaded again.
    unsafe { libc::madvise(map.as_ptr() as *mut _, BYTES, libc::MADV_PAGEOUT) };
    cached(path) < before
}

/// The bytes of a file that are in the system's file cache.
fn cached(path: &Path) -> usize {
    let map = mapped(path);
    let mut pages = vec![0u8; map.len().div_ceil(4096)];
    // SAFETY: the map has these bytes, and the list an entry for each page.
    let status = unsafe { libc::mincore(map.as_ptr() as *mut _, map.len(), pages.as_mut_ptr()) };
    assert_eq!(status, 0);
    pages.iter().filter(|page| **page & 1 == 1).count() * 4096
}

/// The file leaves the system's cache, so that reading it counts for who reads it.
fn forget(path: &Path) {
    let file = File::open(path).unwrap();
    // SAFETY: the descriptor is open.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

#[test]
fn pressure_drops_the_coldest_experts_and_the_bits_stay() {
    let path = file("cold");
    if !can_drop(&path) {
        println!(
            "SKIPPED: the system does not drop pages of {}",
            path.display()
        );
        return fs::remove_file(&path).unwrap();
    }
    let size = fs::metadata(&path).unwrap().len();
    let expected = bits(&Model::open(&path).unwrap(), &Governor::new(), |_| ());
    forget(&path);
    let (model, governor) = (Model::open(&path).unwrap(), Governor::new());
    let found = bits(&model, &governor, |step| {
        if step != 5 {
            return;
        }
        // How much was read beside the experts in use is the system's choice (readahead).
        let before = cached(&path);
        governor.set_memory_pressure(MemoryPressure::Low);
        let left = before - cached(&path);
        println!("{size} bytes, of which {before} were in memory and {left} left it");
        // Of some 60 experts that were used, half and their three matrices of 256 KB.
        assert!(left > 10 << 20, "{left} bytes left");
        assert!(left < before, "experts in use left as well");
    });
    fs::remove_file(&path).unwrap();
    assert!(found == expected);
}

/// A control group of the kernel (version 1) with a limit of memory, if this user may make
/// one.
fn limited(bytes: u64) -> Option<PathBuf> {
    let group = Path::new(MEMORY).join(format!("ondol-{}", std::process::id()));
    fs::create_dir(&group).ok()?;
    let limit = fs::write(group.join("memory.limit_in_bytes"), bytes.to_string());
    match limit {
        Ok(()) => Some(group),
        Err(_) => {
            let _ = fs::remove_dir(&group);
            None
        }
    }
}

#[test]
fn a_file_twice_as_large_as_the_memory_answers() {
    if let Some(child) = std::env::var_os(CHILD) {
        let paths: Vec<PathBuf> = std::env::split_paths(&child).collect();
        let model = Model::open(&paths[0]).unwrap();
        return fs::write(&paths[1], bits(&model, &Governor::new(), |_| ())).unwrap();
    }
    let path = file("limit");
    let size = fs::metadata(&path).unwrap().len();
    let Some(group) = limited(size / 2) else {
        println!("SKIPPED: no control group can be made in {MEMORY}");
        return fs::remove_file(&path).unwrap();
    };
    let expected = bits(&Model::open(&path).unwrap(), &Governor::new(), |_| ());
    forget(&path);
    let out = path.with_extension("bits");
    let child = std::env::join_paths([&path, &out]).unwrap();
    let enter = format!(
        "echo $$ > {}/cgroup.procs || exit {REFUSED}; exec \"$0\" \"$@\"",
        group.display()
    );
    let status = Command::new("sh")
        .args(["-c", &enter])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_file_twice_as_large_as_the_memory_answers"])
        .env(CHILD, child)
        .status()
        .unwrap();
    let peak = fs::read_to_string(group.join("memory.max_usage_in_bytes")).unwrap();
    let found = fs::read(&out).unwrap_or_default();
    let _ = fs::remove_dir(&group);
    fs::remove_file(&path).unwrap();
    let _ = fs::remove_file(&out);
    if status.code() == Some(REFUSED) {
        return println!("SKIPPED: no process can be put into {}", group.display());
    }
    println!(
        "a file of {size} bytes with at most {} in memory",
        peak.trim()
    );
    assert!(status.success(), "{status}");
    assert!(peak.trim().parse::<u64>().unwrap() <= size / 2);
    assert!(found == expected, "other bits under a limit");
}

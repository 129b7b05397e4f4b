//! Builds libraries for Android: for each ABI the native methods of the Kotlin library,
//! and static and shared ones of the C API.
//!
//! With an NDK (`ANDROID_NDK_HOME`) its compiler links the shared libraries. Without
//! one, clang and lld link them with stubs ([`bionic`]). Then everything can be checked
//! except running them.

use super::{Toolchain, aar, bionic, copy, folder, size, symbols};
use crate::steps::{Outcome, output, root};
use std::fs;
use std::path::{Path, PathBuf};

/// An ABI of Android.
pub struct Abi {
    /// Its name in Android, as `cargo ndk` and Gradle use it.
    pub name: &'static str,
    /// Its target in Rust.
    target: &'static str,
    /// Its target in clang, with the lowest version of Android.
    clang: &'static str,
    /// Largest sizes of the stripped shared libraries in bytes: docs/size.md.
    budget: Budget,
}

struct Budget {
    /// `libondol_jni.so`, which was measured for arm64-v8a alone.
    jni: u64,
    /// `libondol.so`.
    c: u64,
}

/// The ABIs. The first one is that of nearly every phone.
const ABIS: [Abi; 3] = [
    Abi {
        name: "arm64-v8a",
        target: "aarch64-linux-android",
        clang: "aarch64-linux-android24",
        budget: Budget {
            jni: 4_300_000,
            c: 3_300_000,
        },
    },
    Abi {
        name: "armeabi-v7a",
        target: "armv7-linux-androideabi",
        clang: "armv7a-linux-androideabi24",
        budget: Budget {
            jni: 3_000_000,
            c: 3_000_000,
        },
    },
    Abi {
        name: "x86_64",
        target: "x86_64-linux-android",
        clang: "x86_64-linux-android24",
        budget: Budget {
            jni: 5_500_000,
            c: 5_500_000,
        },
    },
];

/// Newer phones have memory pages of 16 KB, and the store requires support for them.
const PAGE: u64 = 0x4000;

/// The folder of the NDK.
pub fn ndk() -> Option<PathBuf> {
    std::env::var_os("ANDROID_NDK_HOME").map(PathBuf::from)
}

/// Builds and checks the libraries of all ABIs and the AARs in `target/mobile/android`.
pub fn android() -> Outcome {
    let Some(toolchain) = Toolchain::find()? else {
        return Ok(());
    };
    ABIS.iter().try_for_each(|abi| jni(&toolchain, abi))?;
    aar::kotlin(&toolchain, &ABIS)?;
    let header = root().join("bindings/c/ondol.h");
    copy(&header, &home_c().join("include/ondol.h"))?;
    ABIS.iter().try_for_each(|abi| c(&toolchain, abi))?;
    if ndk().is_some() {
        return aar::c(&ABIS);
    }
    println!("xtask: SKIPPED ondol-c.aar: no NDK (ANDROID_NDK_HOME)");
    Ok(())
}

/// Builds and checks the native methods of the Kotlin library.
fn jni(toolchain: &Toolchain, abi: &Abi) -> Outcome {
    let kinds = "staticlib,cdylib";
    let link = linker(toolchain, abi, "libondol_jni.so")?;
    let built = toolchain.library("android", "ondol-jni", abi.target, kinds, &link)?;
    let shared = shared_jni(abi);
    copy(&built.join("libondol_jni.so"), &shared)?;
    symbols::check_shared(toolchain, &shared, &symbols::of_jni())?;
    check(toolchain, abi, &shared)?;
    size::report(toolchain, &built.join("libondol_jni.a"), &shared)?;
    size::check(&shared, abi.budget.jni)
}

/// Builds and checks the libraries of the C API.
fn c(toolchain: &Toolchain, abi: &Abi) -> Outcome {
    let kinds = "staticlib,cdylib";
    let link = linker(toolchain, abi, "libondol.so")?;
    let built = toolchain.library("android", "ondol-c", abi.target, kinds, &link)?;
    let archive = home_c().join("lib").join(abi.name).join("libondol.a");
    let shared = shared_c(abi);
    copy(&built.join("libondol.a"), &archive)?;
    copy(&built.join("libondol.so"), &shared)?;
    symbols::check_static(toolchain, &archive)?;
    symbols::check_shared(toolchain, &shared, &symbols::declared()?)?;
    check(toolchain, abi, &shared)?;
    size::report(toolchain, &archive, &shared)?;
    size::check(&shared, abi.budget.c)
}

/// Makes the checks of every shared library.
fn check(toolchain: &Toolchain, abi: &Abi, library: &Path) -> Outcome {
    check_needs(toolchain, library)?;
    check_pages(toolchain, library)?;
    bionic::check_warning(library, ndk().is_none())?;
    let how = match ndk() {
        Some(_) => "linked by the NDK",
        None => "no NDK: linked against stand-in libraries",
    };
    println!("{}: {how}; not executed", abi.target);
    Ok(())
}

/// The folder of all results for Android.
pub fn home() -> PathBuf {
    folder().join("android")
}

/// The library of native methods, where `android/ondol/build.gradle.kts` looks for it.
pub fn shared_jni(abi: &Abi) -> PathBuf {
    let folder = home().join("jniLibs").join(abi.name);
    folder.join("libondol_jni.so")
}

/// The folder of the C API.
pub fn home_c() -> PathBuf {
    home().join("c")
}

/// The shared library of the C API, in the folders of `cargo ndk`.
pub fn shared_c(abi: &Abi) -> PathBuf {
    home_c().join("jniLibs").join(abi.name).join("libondol.so")
}

/// The options for the final link of a library with this name.
fn linker(toolchain: &Toolchain, abi: &Abi, name: &str) -> Result<Vec<String>, String> {
    let mut options = match ndk() {
        Some(ndk) => vec![format!("linker={}", ndk_clang(&ndk, abi)?.display())],
        None => {
            let stand_ins = folder().join("stand-ins").join(abi.target);
            bionic::stand_ins(toolchain, abi.clang, &stand_ins)?;
            vec![
                format!("linker={}", toolchain.tool("clang")),
                format!("link-arg=--target={}", abi.clang),
                format!("link-arg=-fuse-ld={}", toolchain.tool("lld")),
                "link-arg=-nostdlib".to_string(),
                format!("link-arg=-L{}", stand_ins.display()),
                format!(
                    "link-arg={}",
                    stand_ins.join(bionic::UNLINKED_OBJECT).display()
                ),
            ]
        }
    };
    options.push(format!("link-arg=-Wl,-soname,{name},--build-id,-z,defs"));
    options.push(format!("link-arg=-Wl,-z,max-page-size={PAGE}"));
    let pairs = options
        .into_iter()
        .flat_map(|option| ["-C".to_string(), option]);
    Ok(pairs.collect())
}

/// The NDK's compiler for an ABI, in the folder of the only host system that the NDK
/// supports.
fn ndk_clang(ndk: &Path, abi: &Abi) -> Result<PathBuf, String> {
    let hosts = ndk.join("toolchains/llvm/prebuilt");
    let first = fs::read_dir(&hosts)
        .ok()
        .and_then(|mut hosts| hosts.next()?.ok());
    let host = first.ok_or_else(|| format!("{} (no such NDK)", hosts.display()))?;
    Ok(host.path().join("bin").join(format!("{}-clang", abi.clang)))
}

/// Checks that a library needs only Android's own libraries, and of those only the
/// listed functions.
fn check_needs(toolchain: &Toolchain, library: &Path) -> Outcome {
    let known = bionic::libraries();
    let path = library.display().to_string();
    let dynamic = output(&toolchain.tool("llvm-readelf"), &["--dynamic", &path])?;
    let needed = needed(&dynamic);
    println!("{path}: needs {}", needed.join(", "));
    let strange = |name: &&&str| !known.iter().any(|(library, _)| library == *name);
    if let Some(strange) = needed.iter().find(strange) {
        return Err(format!("{path} needs {strange}"));
    }
    if !needed.contains(&"libc.so") {
        return Err(format!("{path} does not need libc.so"));
    }
    let undefined = symbols::undefined(toolchain, library)?;
    let strange: Vec<&String> = undefined
        .iter()
        .filter(|name| !known.iter().any(|(_, all)| all.contains(&name.as_str())))
        .collect();
    if strange.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{path} uses {strange:?}: look them up, see bionic.txt"
    ))
}

/// The names in brackets in readelf's rows with NEEDED.
fn needed(dynamic: &str) -> Vec<&str> {
    let lines = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    let names = lines.filter_map(|line| line.split_once('[')?.1.split_once(']'));
    names.map(|(name, _)| name).collect()
}

/// Checks that every mapped part can be mapped in pages of 16 KB.
fn check_pages(toolchain: &Toolchain, library: &Path) -> Outcome {
    let path = library.display().to_string();
    let headers = output(
        &toolchain.tool("llvm-readelf"),
        &["--program-headers", "--wide", &path],
    )?;
    let alignments = alignments(&headers);
    println!(
        "{path}: {} parts, aligned to {alignments:x?}",
        alignments.len()
    );
    let fits = |alignment: &u64| *alignment != 0 && alignment.is_multiple_of(PAGE);
    if alignments.is_empty() || !alignments.iter().all(fits) {
        return Err(format!("{path}: pages of 16 KB"));
    }
    Ok(())
}

/// The last column of readelf's rows with LOAD.
fn alignments(headers: &str) -> Vec<u64> {
    let lines = headers.lines().map(str::trim);
    let loads = lines.filter(|line| line.starts_with("LOAD"));
    let last = loads.filter_map(|line| line.rsplit("0x").next());
    last.map(|digits| u64::from_str_radix(digits, 16).unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_libraries_are_in_brackets() {
        let dynamic = "\
  0x0000000000000001 (NEEDED)       Shared library: [libdl.so]
  0x0000000000000001 (NEEDED)       Shared library: [libc.so]
  0x000000000000000e (SONAME)       Library soname: [libondol.so]
";
        assert_eq!(needed(dynamic), ["libdl.so", "libc.so"]);
    }

    #[test]
    fn alignments_of_parts_that_are_mapped() {
        let headers = "\
  PHDR           0x000040 0x0000000000000040 0x0000000000000040 0x0001f8 0x0001f8 R   0x8
  LOAD           0x000000 0x0000000000000000 0x0000000000000000 0x07c3a4 0x07c3a4 R   0x4000
  LOAD           0x07c3b0 0x00000000000803b0 0x00000000000803b0 0x0fd0f0 0x0fd0f0 R E 0x1000
";
        assert_eq!(alignments(headers), [0x4000, 0x1000]);
    }
}

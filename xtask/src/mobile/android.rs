//! Builds libraries for Android: static and shared ones for each ABI, and the AAR.
//!
//! With an NDK (`ANDROID_NDK_HOME`) its compiler links the shared libraries. Without
//! one, clang and lld link them with stubs ([`bionic`]). Then everything can be checked
//! except running them.

use super::{Toolchain, bionic, copy, folder, make_folder, size, symbols, write};
use crate::steps::{Extent, Outcome, output, root, run};
use std::fs;
use std::path::{Path, PathBuf};

/// An ABI of Android.
struct Abi {
    /// Its name in Android, as `cargo ndk` and Gradle use it.
    name: &'static str,
    /// Its target in Rust.
    target: &'static str,
    /// Its target in clang, with the lowest version of Android.
    clang: &'static str,
    /// Largest size of the stripped shared library in bytes: docs/size.md.
    budget: u64,
}

/// The first one is that of nearly every phone.
const ABIS: [Abi; 3] = [
    Abi {
        name: "arm64-v8a",
        target: "aarch64-linux-android",
        clang: "aarch64-linux-android24",
        budget: 3_000_000,
    },
    Abi {
        name: "armeabi-v7a",
        target: "armv7-linux-androideabi",
        clang: "armv7a-linux-androideabi24",
        budget: 3_000_000,
    },
    Abi {
        name: "x86_64",
        target: "x86_64-linux-android",
        clang: "x86_64-linux-android24",
        budget: 5_000_000,
    },
];

/// Newer phones have memory pages of 16 KB, and the store requires support for them.
const PAGE: u64 = 0x4000;

/// Link options that Android's build tools use for every library.
const MANIFEST: &str = "\
<manifest xmlns:android=\"http://schemas.android.com/apk/res/android\" package=\"ondol.c\">
    <uses-sdk android:minSdkVersion=\"24\" />
</manifest>
";

/// The folder of the NDK.
pub fn ndk() -> Option<PathBuf> {
    std::env::var_os("ANDROID_NDK_HOME").map(PathBuf::from)
}

/// Builds and checks the libraries of all ABIs, and packs the AAR.
pub fn android() -> Outcome {
    let Some(toolchain) = Toolchain::find()? else {
        return Ok(());
    };
    build(&toolchain, Extent::All)?;
    if ndk().is_some() {
        return aar();
    }
    println!("xtask: SKIPPED ondol.aar: no NDK (ANDROID_NDK_HOME)");
    Ok(())
}

/// Builds and checks the libraries of all ABIs, or of the first, and puts them in
/// `target/mobile/android` with the folders of `cargo ndk`.
pub fn build(toolchain: &Toolchain, extent: Extent) -> Outcome {
    let home = home();
    copy(
        &root().join("bindings/c/ondol.h"),
        &home.join("include/ondol.h"),
    )?;
    let abis = match extent {
        Extent::Part => &ABIS[..1],
        Extent::All => &ABIS,
    };
    for abi in abis {
        let link = linker(toolchain, abi)?;
        let kinds = "staticlib,cdylib";
        let built = toolchain.library("android", "ondol-c", abi.target, kinds, &link)?;
        let archive = home.join("lib").join(abi.name).join("libondol.a");
        let shared = shared(abi);
        copy(&built.join("libondol.a"), &archive)?;
        copy(&built.join("libondol.so"), &shared)?;
        symbols::check_static(toolchain, &archive)?;
        symbols::check_shared(toolchain, &shared)?;
        check_needs(toolchain, &shared)?;
        check_pages(toolchain, &shared)?;
        size::report(toolchain, &archive, &shared)?;
        size::check(&shared, abi.budget)?;
        let how = match ndk() {
            Some(_) => "linked by the NDK",
            None => "no NDK: linked against stand-in libraries",
        };
        println!("{}: {how}; not executed", abi.target);
    }
    Ok(())
}

fn home() -> PathBuf {
    folder().join("android")
}

fn shared(abi: &Abi) -> PathBuf {
    home().join("jniLibs").join(abi.name).join("libondol.so")
}

/// The options for the final link.
fn linker(toolchain: &Toolchain, abi: &Abi) -> Result<Vec<String>, String> {
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
            ]
        }
    };
    options.push("link-arg=-Wl,-soname,libondol.so,--build-id,-z,defs".to_string());
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

/// Packs the shared libraries and the header into `ondol.aar`, as a prefab module,
/// which CMake finds as `ondol::ondol`.
fn aar() -> Outcome {
    let parts = home().join("aar");
    let module = parts.join("prefab/modules/ondol");
    write(&parts.join("AndroidManifest.xml"), MANIFEST)?;
    let version = env!("CARGO_PKG_VERSION");
    let package = format!(
        "{{\"schema_version\": 2, \"name\": \"ondol\", \"version\": \"{version}\", \"dependencies\": []}}\n"
    );
    write(&parts.join("prefab/prefab.json"), &package)?;
    write(&module.join("module.json"), "{\"export_libraries\": []}\n")?;
    copy(
        &root().join("bindings/c/ondol.h"),
        &module.join("include/ondol.h"),
    )?;
    for abi in &ABIS {
        let name = abi.name;
        copy(
            &shared(abi),
            &parts.join("jni").join(name).join("libondol.so"),
        )?;
        let libs = module.join("libs").join(format!("android.{name}"));
        copy(&shared(abi), &libs.join("libondol.so"))?;
        let about = format!(
            "{{\"abi\": \"{name}\", \"api\": 24, \"ndk\": 27, \"stl\": \"none\", \"static\": false}}\n"
        );
        write(&libs.join("abi.json"), &about)?;
    }
    let archive = home().join("ondol.aar");
    make_folder(&home())?;
    let file = |name: &str| parts.join(name).display().to_string();
    let entries = [file("AndroidManifest.xml"), file("jni"), file("prefab")];
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    let archive = archive.display().to_string();
    let pack = ["-m", "zipfile", "-c", archive.as_str()];
    run("python3", &[&pack[..], &entries].concat())
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

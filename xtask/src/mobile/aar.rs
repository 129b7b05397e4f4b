//! Assembles the AARs: that of the Kotlin library by Maven, from `android/`, and that of
//! the C API.

use super::android::{Abi, home, home_c, ndk, shared_c, shared_jni};
use super::{Toolchain, copy, folder, make_folder, write};
use crate::kotlin::remove_classes;
use crate::steps::{Outcome, root, run};
use crate::{apt, models};
use std::fs;
use std::path::{Path, PathBuf};

const PACKAGES: [&str; 3] = ["aapt", "maven", "openjdk-17-jdk-headless"];

/// The name of an AAR whose libraries were linked without an NDK.
const UNLINKED: &str = "ondol-unlinked";

/// The manifest of the AAR of the C API.
const C_MANIFEST: &str = "\
<manifest xmlns:android=\"http://schemas.android.com/apk/res/android\" package=\"ondol.c\">
    <uses-sdk android:minSdkVersion=\"24\" />
</manifest>
";

/// Assembles the AAR of the Kotlin library with the libraries of some ABIs, and checks
/// it: `android/aar`. Compiles the sample app too, and runs those of its tests that need
/// no Android.
pub fn kotlin(toolchain: &Toolchain, abis: &[Abi]) -> Outcome {
    if matches!(toolchain, Toolchain::Debian) && !apt::install("the AAR", &PACKAGES)? {
        return Ok(());
    }
    let libraries: Vec<_> = abis.iter().map(|abi| (abi.name, shared_jni(abi))).collect();
    let name = match ndk() {
        Some(_) => "ondol",
        None => UNLINKED,
    };
    let assemble = arguments(&home(), name, &libraries)?;
    let assemble: Vec<&str> = assemble.iter().map(String::as_str).collect();
    let output = folder().join("maven");
    remove_classes(&output)?;
    let output = format!("-Dondol.output={}", output.display());
    // The tests of the library itself need one for this machine.
    let tests = [
        "-Dtest=dev/ondol/aar/*,dev/ondol/sample/*",
        "-Dsurefire.failIfNoSpecifiedTests=false",
    ];
    let maven = ["-B", "-q", "-f", "android/pom.xml"];
    let goal = ["-pl", "aar", "-am", "verify", &output];
    run("mvn", &[&maven[..], &goal, &tests, &assemble].concat())?;
    println!(
        "{}: assembled and checked; not used in an app",
        home().join(format!("{name}.aar")).display()
    );
    Ok(())
}

/// Maven's arguments for an AAR with the library of this computer instead of a phone's, and for its
/// checks, except those of what a phone's linker makes. `None`, and prints why, if a tool is
/// missing or Android has no ABI for this CPU.
pub fn stand_in(library: &Path) -> Result<Option<Vec<String>>, String> {
    let abi = match std::env::consts::ARCH {
        "aarch64" => "arm64-v8a",
        "x86_64" => "x86_64",
        other => {
            eprintln!("xtask: SKIPPED the AAR: no ABI of Android for {other}");
            return Ok(None);
        }
    };
    if !apt::install("the AAR", &PACKAGES)? {
        return Ok(None);
    }
    let home = models::target().join("kotlin/stand-in");
    let library = (abi, library.join("libondol_jni.so"));
    arguments(&home, UNLINKED, &[library]).map(Some)
}

/// Maven's arguments that assemble an AAR with the libraries of some ABIs and check it.
fn arguments(
    home: &Path,
    name: &str,
    libraries: &[(&str, PathBuf)],
) -> Result<Vec<String>, String> {
    let parts = empty(&home.join("aar"))?;
    for (abi, library) in libraries {
        copy(
            library,
            &parts.join("jni").join(abi).join("libondol_jni.so"),
        )?;
    }
    let abis: Vec<&str> = libraries.iter().map(|(abi, _)| *abi).collect();
    let archive = home.join(format!("{name}.aar"));
    Ok(vec![
        "-Pandroid".to_string(),
        format!("-Dondol.aar.parts={}", parts.display()),
        format!("-Dondol.aar.manifest={name}.xml"),
        format!("-Dondol.aar={}", archive.display()),
        format!("-Dondol.abis={}", abis.join(",")),
    ])
}

/// Packs the shared libraries and the header of the C API into `ondol-c.aar`, as a prefab
/// module, which CMake finds as `ondol::ondol`.
pub fn c(abis: &[Abi]) -> Outcome {
    let parts = empty(&home_c().join("aar"))?;
    let module = parts.join("prefab/modules/ondol");
    write(&parts.join("AndroidManifest.xml"), C_MANIFEST)?;
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
    for abi in abis {
        let name = abi.name;
        let library = shared_c(abi);
        copy(&library, &parts.join("jni").join(name).join("libondol.so"))?;
        let libs = module.join("libs").join(format!("android.{name}"));
        copy(&library, &libs.join("libondol.so"))?;
        let about = format!(
            "{{\"abi\": \"{name}\", \"api\": 24, \"ndk\": 27, \"stl\": \"none\", \"static\": false}}\n"
        );
        write(&libs.join("abi.json"), &about)?;
    }
    let archive = home_c().join("ondol-c.aar").display().to_string();
    let part = |name: &str| parts.join(name).display().to_string();
    let entries = [part("AndroidManifest.xml"), part("jni"), part("prefab")];
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    let pack = ["-m", "zipfile", "-c", archive.as_str()];
    run("python3", &[&pack[..], &entries].concat())
}

/// A folder without what an earlier run left there.
fn empty(path: &Path) -> Result<PathBuf, String> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(|e| format!("{} ({e})", path.display()))?;
    }
    make_folder(path)?;
    Ok(path.to_path_buf())
}

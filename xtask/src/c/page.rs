//! Compiles and runs what `docs/c.md` shows.

use super::{cc, folder};
use crate::page::{Block, blocks};
use crate::steps::{Outcome, root, run, run_env};
use std::fs;
use std::path::Path;

const PAGE: &str = "docs/c.md";

/// The headers that parts of a program on the page may use.
const INCLUDES: &str = "#include <ondol.h>\n#include <stdio.h>\n#include <stdlib.h>\n";

/// The commands of the console that build and run programs.
fn commands(blocks: &[Block<'_>]) -> String {
    let console = blocks.iter().filter(|block| block.language == "console");
    let lines = console.flat_map(|block| block.code.lines());
    let lines = lines.filter_map(|line| line.strip_prefix("$ "));
    let starts = ["export ", "cc ", "cmake ", "./"];
    lines
        .filter(|line| starts.iter().any(|start| line.starts_with(start)))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Compiles the parts, writes the program and its `CMakeLists.txt` to a folder, and runs
/// the page's commands there, with the libraries that are installed in `prefix`.
pub fn page(prefix: &Path) -> Outcome {
    let page = fs::read_to_string(root().join(PAGE)).map_err(|e| format!("{PAGE} ({e})"))?;
    let (blocks, folder) = (blocks(&page), folder()?.join("page"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| format!("{} ({e})", folder.display()))?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| format!("{} ({e})", path.display()))
    };
    for (index, block) in blocks.iter().enumerate() {
        match block.language {
            "c" if block.code.contains("int main(") => write("first.c", block.code)?,
            "c" => {
                let name = format!("part{index}.c");
                write(&name, &format!("{INCLUDES}{}", block.code))?;
                let object = folder.join(format!("part{index}.o"));
                let include = format!("-I{}", prefix.join("include").display());
                let source = folder.join(&name).display().to_string();
                cc(&source, &object, &["-c", &include])?;
            }
            "cmake" => write("CMakeLists.txt", block.code)?,
            _ => {}
        }
    }
    let script = format!("set -ex\ncd \"$FOLDER\"\n{}", commands(&blocks));
    let environment = [
        ("FOLDER", folder.display().to_string()),
        ("PREFIX", prefix.display().to_string()),
        ("MODEL", root().join(super::HELLO).display().to_string()),
    ];
    let environment: Vec<(&str, &str)> = environment.iter().map(|(k, v)| (*k, &**v)).collect();
    run_env("sh", &["-c", &script], &environment)?;
    ["first", "build/first"].iter().try_for_each(|program| {
        let program = folder.join(program).display().to_string();
        run("test", &["-x", &program])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_commands_are_found() {
        let page = "a\n```c\nint x;\n```\nb\n```console\n$ cargo c\n$ export A=1\n$ cc x.c\nout\n$ ./x\n```\n";
        let found = blocks(page);
        let c = Block {
            language: "c",
            code: "int x;\n",
        };
        assert_eq!((found.len(), &found[0]), (2, &c));
        assert_eq!(commands(&found), "export A=1\ncc x.c\n./x\n");
    }
}

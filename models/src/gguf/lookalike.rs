//! Recognizes common files that are not GGUF, by their first bytes.

use crate::WHOLE;
use alloc::format;
use alloc::string::String;

/// A short description of a file whose first four bytes are not `GGUF`.
pub(super) fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "an empty file".into();
    }
    // Firmware gets its model from a tool that has checked the file.
    let known = if WHOLE { known(bytes) } else { None };
    match known {
        Some(found) => found.into(),
        None => format!("its first bytes are {}", hex(bytes)),
    }
}

fn known(bytes: &[u8]) -> Option<&'static str> {
    if looks_like_html(bytes) {
        return Some("an HTML page (a download that was answered by a web page?)");
    }
    if looks_like_safetensors(bytes) {
        return Some("a safetensors file");
    }
    const STARTS: &[(&[u8], &str)] = &[
        (b"PK\x03\x04", "a ZIP archive (a PyTorch checkpoint is one)"),
        (b"\x1f\x8b", "a gzip archive"),
        (
            b"version https://git-lfs",
            "a Git LFS pointer (the file itself was not fetched)",
        ),
        // Before GGUF, magic numbers were u32 written little-endian.
        (b"lmgg", "a GGML file, the format before GGUF"),
        (b"fmgg", "a GGMF file, a format before GGUF"),
        (b"tjgg", "a GGJT file, a format before GGUF"),
        (b"algg", "a GGLA file, an adapter in a format before GGUF"),
    ];
    STARTS
        .iter()
        .find(|(start, _)| bytes.starts_with(start))
        .map(|(_, found)| *found)
}

fn looks_like_html(bytes: &[u8]) -> bool {
    let text = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    [&b"<!doctype html"[..], b"<html", b"<head", b"<body"]
        .iter()
        .any(|tag| {
            text.get(..tag.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(tag))
        })
}

/// The format's header: its length as u64, then a JSON object. Its authors cap the
/// header at 100 MB.
fn looks_like_safetensors(bytes: &[u8]) -> bool {
    let Some((len, json)) = bytes.split_first_chunk() else {
        return false;
    };
    (2..=100_000_000).contains(&u64::from_le_bytes(*len)) && json.starts_with(b"{")
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(8) {
        let space = if text.is_empty() { "" } else { " " };
        text += &format!("{space}{byte:02x}");
    }
    text
}

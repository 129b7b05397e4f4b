//! Models that are split over several files, `name-00001-of-00003.gguf` and so on.
//!
//! The first shard has all metadata, and others may repeat it. Each shard has `split.no`
//! (from 0), `split.count`, and a part of the tensors.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::read::tensor_index;
use super::{ALIGNMENT_KEY, Gguf, bad_value};
use crate::{Error, Result};

/// Reads a set of shards; see [`Gguf::parse_shards`].
pub(super) fn parse<'a>(shards: &[&'a [u8]]) -> Result<Gguf<'a>> {
    let Some((first, others)) = shards.split_first() else {
        return Err(parts("no file was given".into()));
    };
    let in_shard = |no: u32| {
        move |source| match shards.len() {
            1 => source,
            _ => Error::Shard {
                index: no as usize,
                source: Box::new(source),
            },
        }
    };
    let mut gguf = part(first, 0, shards.len()).map_err(in_shard(0))?;
    for (no, bytes) in (1u32..).zip(others) {
        let shard = part(bytes, no, shards.len()).map_err(in_shard(no))?;
        check_metadata(&gguf, &shard).map_err(in_shard(no))?;
        gguf.tensors
            .extend(shard.tensors.into_iter().map(|mut tensor| {
                tensor.shard = no;
                tensor
            }));
    }
    check_tensor_count(&gguf)?;
    gguf.tensor_index = tensor_index(&gguf.tensors)?;
    Ok(gguf)
}

/// Reads the shard `no` (from 0) of `count`.
fn part(bytes: &[u8], no: u32, count: usize) -> Result<Gguf<'_>> {
    let shard = Gguf::parse(bytes)?;
    check_place(&shard, no, count)?;
    Ok(shard)
}

/// Checks that a later shard's metadata, which is not used, does not contradict the
/// first one's or add to it, except its own number and alignment.
fn check_metadata(first: &Gguf<'_>, shard: &Gguf<'_>) -> Result<()> {
    let own = |key: &str| key.starts_with("split.") || key == ALIGNMENT_KEY;
    let keys = shard.metadata().iter().filter(|(key, _)| !own(key));
    for (key, value) in keys {
        let reason = match first.get(key) {
            Some(said) if said == value => continue,
            Some(_) => "the first part has another value",
            None => "the first part, which has the metadata of all, does not have it",
        };
        return Err(bad_value(key, reason.into()));
    }
    Ok(())
}

/// Checks that this is the shard `no` (from 0) of `count`. A file that says
/// nothing of shards is a set of one.
fn check_place(shard: &Gguf<'_>, no: u32, count: usize) -> Result<()> {
    let file = no + 1;
    let Some(said_count) = shard.opt_u32("split.count")? else {
        return match count {
            1 => Ok(()),
            _ => Err(parts(format!(
                "file {file} of {count} is not part of a split model (`split.count` is missing)"
            ))),
        };
    };
    let said = shard.u32("split.no")?.saturating_add(1);
    if count == 1 && said_count > 1 {
        let (first, last) = (
            shard_name("NAME", 1, said_count),
            shard_name("NAME", said_count, said_count),
        );
        return Err(parts(format!(
            "this file is part {said} of {said_count}; name them {first} to {last}, put them in \
             one folder, and open the first"
        )));
    }
    if said_count as usize != count {
        return Err(parts(format!(
            "file {file} of {count} is a part of a model of {said_count} files"
        )));
    }
    if said != file {
        return Err(parts(format!("file {file} of {count} is part {said}")));
    }
    Ok(())
}

/// Checks `split.tensors.count`, the number of tensors in all shards.
fn check_tensor_count(gguf: &Gguf<'_>) -> Result<()> {
    let found = gguf.tensors.len() as u64;
    match gguf.opt_u64("split.tensors.count")? {
        Some(said) if said != found => Err(parts(format!(
            "the parts hold {found} tensors, but the first part says {said}; one part is of \
             another model"
        ))),
        _ => Ok(()),
    }
}

fn parts(reason: String) -> Error {
    Error::Parts { reason }
}

/// The file names of all shards, in order, given that of any one of them;
/// `None` for a name that is not of the form `name-00001-of-00003.gguf`.
pub fn shard_names(file_name: &str) -> Option<Vec<String>> {
    let stem = file_name.strip_suffix(".gguf")?;
    let (rest, count) = split_number(stem, "-of-")?;
    let (name, number) = split_number(rest, "-")?;
    (1..=count)
        .contains(&number)
        .then(|| (1..=count).map(|n| shard_name(name, n, count)).collect())
}

/// The file name of shard `number` (from 1) of `count`.
pub fn shard_name(name: &str, number: u32, count: u32) -> String {
    format!("{name}-{number:05}-of-{count:05}.gguf")
}

/// Takes the separator and five digits off the end.
fn split_number<'n>(name: &'n str, separator: &str) -> Option<(&'n str, u32)> {
    let (rest, digits) = name.rsplit_once(separator)?;
    let is_number = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(|number| (rest, number)))?
}

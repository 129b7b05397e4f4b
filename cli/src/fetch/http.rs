//! Downloads one file by HTTP(S), and resumes an earlier attempt.
//!
//! Ranges, `If-Range` and `Content-Range` as in RFC 9110, sections 13 and 14.

use crate::error::{Error, Result};
use crate::fetch::proxy::{self, ThroughProxy};
use crate::progress::Progress;
use ondol::files::regular;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body};

/// The timeout of a connection: a blocked network should take seconds before the next
/// source is tried.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that sends nothing for this long is asked again for the rest, or abandoned.
const SILENCE: Duration = Duration::from_secs(30);
/// Attempts in a row without new bytes before the source is abandoned.
const FRUITLESS_TRIES: u32 = 3;

/// The path of a file beside the part, with the entity tag of the file that the part's bytes
/// are from.
pub fn etag_path(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".etag");
    name.into()
}

/// Downloads `address` to `part`, which may already have the beginning of the file.
///
/// On success `part` has exactly `size` bytes. On failure what arrived stays, to be resumed.
pub fn download(address: &str, part: &Path, label: &str, size: u64) -> Result<()> {
    let agent = agent(address)?;
    let progress = Progress::bytes(label, size);
    let (mut fruitless, mut began_anew) = (0, false);
    loop {
        let before = part_len(part, size)?;
        if before == size {
            progress.finish();
            return Ok(());
        }
        let outcome = transfer(&agent, address, part, before, size, &progress);
        let Err(reason) = outcome else { continue };
        if matches!(reason, Error::NotResumed { .. }) && !began_anew {
            began_anew = true;
            super::remove_file(part)?;
            super::remove_file(&etag_path(part))?;
            continue;
        }
        let after = part_len(part, size)?;
        fruitless = if after > before { 0 } else { fruitless + 1 };
        // Only a connection that broke is worth another try; a refusal stays a refusal.
        if !matches!(reason, Error::Interrupted { .. }) || fruitless == FRUITLESS_TRIES {
            progress.finish();
            return Err(reason);
        }
    }
}

/// A client with the timeouts, and the proxy of the address.
pub fn agent(address: &str) -> Result<Agent> {
    let config = Agent::config_builder()
        .proxy(proxy::of(address)?)
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .http_status_as_error(false)
        .user_agent(concat!("ondol/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(Agent::with_parts(
        config,
        ThroughProxy::default(),
        DefaultResolver::default(),
    ))
}

/// The body of a file from the byte `start` on, and the size of the whole file. Dropping
/// the body ends the transfer.
pub fn open(agent: &Agent, address: &str, start: u64) -> Result<(impl Read + use<>, u64)> {
    let mut request = agent.get(address);
    if start > 0 {
        request = request.header("Range", format!("bytes={start}-"));
    }
    let response = request
        .call()
        .map_err(|e| unreachable(agent, address, &e))?;
    let (begins, size) = offered(&response, address, start)?;
    let address = address.to_owned();
    match size {
        Some(size) if begins == start => Ok((response.into_body().into_reader(), size)),
        Some(_) => Err(Error::NoParts { address }),
        None => Err(Error::NoSize { address }),
    }
}

/// One request. Appends to `part`, or starts it again if the server can't resume.
fn transfer(
    agent: &Agent,
    address: &str,
    part: &Path,
    have: u64,
    size: u64,
    progress: &Progress,
) -> Result<()> {
    let mut request = agent.get(address);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
        if let Ok(etag) = fs::read_to_string(etag_path(part)) {
            request = request.header("If-Range", etag);
        }
    }
    let response = request
        .call()
        .map_err(|e| unreachable(agent, address, &e))?;
    let start = accept(&response, address, have, size)?;
    keep_etag(&response, part)?;
    let mut file = regular::append(part).map_err(Error::file("write", part))?;
    if start == 0 {
        file.set_len(0).map_err(Error::file("write", part))?;
    }
    progress.start_at(start);
    copy(
        response.into_body().into_reader(),
        &mut file,
        start,
        size,
        progress,
    )
    .map_err(|stop| match stop {
        Stop::Network(have, reason) => Error::Interrupted {
            address: address.to_owned(),
            have,
            size,
            reason,
        },
        Stop::Disk(source) => Error::file("write", part)(source),
    })
}

/// Why there is no answer. A proxy's fault is not the address's.
fn unreachable(agent: &Agent, address: &str, error: &ureq::Error) -> Error {
    use ureq::{Error as E, Timeout};
    let (address, reason) = (address.to_owned(), error.to_string());
    let is_of_connection = matches!(
        error,
        E::Io(_)
            | E::HostNotFound
            | E::ConnectionFailed
            | E::ConnectProxyFailed(_)
            | E::Timeout(Timeout::Resolve | Timeout::Connect)
    );
    match agent.config().proxy().filter(|_| is_of_connection) {
        Some(proxy) => Error::Proxy {
            proxy: format!("{}:{}", proxy.host(), proxy.port()),
            address,
            reason,
        },
        None => Error::Unreachable { address, reason },
    }
}

/// Where in the file the body begins, or why the answer is not the file.
fn accept(response: &Response<Body>, address: &str, have: u64, size: u64) -> Result<u64> {
    match offered(response, address, have)? {
        (_, Some(found)) if found != size => Err(Error::WrongSize {
            origin: address.to_owned(),
            found,
            expected: size,
        }),
        (start, _) => Ok(start),
    }
}

/// Where in the file the body begins, and the size of the file if the server knows it;
/// or why the answer is no file.
fn offered(response: &Response<Body>, address: &str, have: u64) -> Result<(u64, Option<u64>)> {
    let address = address.to_owned();
    let status = response.status().as_u16();
    let offered = match status {
        200 => (
            0,
            header(response, CONTENT_LENGTH).and_then(|n| n.parse().ok()),
        ),
        206 => match header(response, CONTENT_RANGE).and_then(parse_content_range) {
            Some((start, total)) if start == have => (have, total),
            _ if have > 0 => return Err(Error::NotResumed { address, have }),
            _ => return Err(Error::HttpStatus { address, status }),
        },
        416 if have > 0 => return Err(Error::NotResumed { address, have }),
        _ => return Err(Error::HttpStatus { address, status }),
    };
    if header(response, CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(Error::WebPage { address });
    }
    Ok(offered)
}

/// `bytes 5-9/10` as the first byte and the size of the whole, if the server knows it.
fn parse_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

fn header(response: &Response<Body>, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// Keeps a strong entity tag for the next `If-Range`; a weak one can't be used there.
fn keep_etag(response: &Response<Body>, part: &Path) -> Result<()> {
    let path = etag_path(part);
    match header(response, ETAG).filter(|tag| tag.starts_with('"')) {
        Some(tag) => fs::write(&path, tag).map_err(Error::file("write", &path)),
        None => super::remove_file(&path).map(drop),
    }
}

enum Stop {
    Network(u64, String),
    Disk(std::io::Error),
}

/// Copies the rest of the file; `Ok` only when it is complete.
fn copy(
    mut body: impl Read,
    file: &mut File,
    start: u64,
    size: u64,
    progress: &Progress,
) -> Result<(), Stop> {
    let mut have = start;
    let mut buffer = vec![0; 1 << 16];
    while have < size {
        let room = buffer
            .len()
            .min(usize::try_from(size - have).unwrap_or(usize::MAX));
        match body.read(&mut buffer[..room]) {
            Ok(0) => {
                return Err(Stop::Network(
                    have,
                    "the server closed the connection".to_owned(),
                ));
            }
            Ok(n) => {
                file.write_all(&buffer[..n]).map_err(Stop::Disk)?;
                have += n as u64;
                progress.add(n as u64);
            }
            Err(e) => return Err(Stop::Network(have, e.to_string())),
        }
    }
    Ok(())
}

/// Bytes in the part; a part longer than the file can't be its beginning and is dropped.
fn part_len(part: &Path, size: u64) -> Result<u64> {
    match fs::metadata(part) {
        Ok(meta) if meta.len() <= size => Ok(meta.len()),
        Ok(_) => super::remove_file(part).map(|_| 0),
        Err(_) => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_and_nonsense_is_not() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        for nonsense in [
            "",
            "bytes",
            "bytes 5/10",
            "items 5-9/10",
            "bytes x-9/10",
            "bytes */10",
        ] {
            assert_eq!(parse_content_range(nonsense), None, "{nonsense}");
        }
    }
}

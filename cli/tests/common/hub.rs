//! A stand-in for a model hub: one file, served well or badly, and a record of the requests.
#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a request is answered.
#[derive(Clone, Copy)]
pub enum Answer {
    /// As RFC 9110 says, ranges and `If-Range` included.
    Well,
    /// The whole file, whatever range is asked for.
    Whole,
    /// As `Well`, but the connection breaks after so many bytes of the body.
    Cut(usize),
    /// As `Well`, but a pause after so many bytes of the body.
    Slow(usize),
    /// As `Well`, behind a redirect.
    Redirect,
    /// A web page with status 200.
    Page,
    /// As `Well`, but a range begins a byte after the one that was asked for.
    Beyond,
    /// A status alone.
    Status(u16),
}

/// The server; it ends with the test process.
pub struct Hub {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// Serves `file` under every path: the first request by the first answer and so on, the last answer again and again.
    pub fn start(file: Vec<u8>, answers: Vec<Answer>) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut answers = answers.into_iter();
            let mut answer = answers.next().unwrap();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let request = read_request(&stream);
                let redirected = request.starts_with("GET /elsewhere");
                seen.lock().unwrap().push(request.clone());
                let file = file.clone();
                let now = if redirected { Answer::Well } else { answer };
                std::thread::spawn(move || respond(stream, &request, &file, now));
                if !redirected {
                    answer = answers.next().unwrap_or(answer);
                }
            }
        });
        Hub { address, requests }
    }

    /// The base address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Every request so far: request line and headers, in lower case after the first line.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> String {
    let mut request = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap_or_default();
        if line.is_empty() {
            break;
        }
        request += &if request.is_empty() {
            line
        } else {
            line.to_lowercase()
        };
        request.push('\n');
    }
    request
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The test may have killed the client: what can't be written is nobody's concern.
fn respond(mut stream: TcpStream, request: &str, file: &[u8], answer: Answer) {
    let etag = "\"v1\"";
    let range = header(request, "range").and_then(|r| {
        r.strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    let fresh = header(request, "if-range").is_none_or(|tag| tag == etag);
    let start = match answer {
        Answer::Whole => 0,
        Answer::Beyond => range.map_or(0, |start| start + 1),
        _ if fresh => range.unwrap_or(0),
        _ => 0,
    };
    let body = &file[start.min(file.len())..];
    let head = match answer {
        Answer::Status(status) => format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"),
        Answer::Redirect => "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned(),
        Answer::Page => {
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 13\r\n\r\n<html></html>".to_owned()
        }
        _ if start > 0 => format!(
            "HTTP/1.1 206 Partial Content\r\nETag: {etag}\r\nContent-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\n\r\n",
            file.len() - 1,
            file.len(),
            body.len()
        ),
        _ => format!("HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {}\r\n\r\n", body.len()),
    };
    // Else a client may send its next request into a connection that ends here.
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let _ = stream.write_all(head.as_bytes());
    let _ = match answer {
        Answer::Status(_) | Answer::Redirect | Answer::Page => Ok(()),
        Answer::Cut(bytes) => stream.write_all(&body[..bytes.min(body.len())]),
        Answer::Slow(bytes) => {
            let (now, later) = body.split_at(bytes.min(body.len()));
            stream.write_all(now).and_then(|()| {
                std::thread::sleep(Duration::from_secs(2));
                stream.write_all(later)
            })
        }
        Answer::Well | Answer::Whole | Answer::Beyond => stream.write_all(body),
    };
}

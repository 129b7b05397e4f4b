//! Messages over a Unix socket, each with at most one file.
//!
//! A message is its length in four bytes, little-endian, and as many bytes of postcard.

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The longest message in bytes. A graph of a thousand nodes takes some 50 KB.
const MAX: usize = 16 << 20;

/// Bytes of a message's length.
const LENGTH: usize = 4;

/// One end of a connection.
pub struct Channel {
    stream: UnixStream,
    /// The last message. Its memory is kept, so that small messages allocate nothing.
    bytes: Vec<u8>,
}

impl Channel {
    /// The two ends of a new connection. A write that the other side does not read fails after
    /// `patience`.
    ///
    /// # Errors
    /// The system's.
    pub fn pair(patience: Duration) -> io::Result<[Channel; 2]> {
        let (one, other) = UnixStream::pair()?;
        one.set_write_timeout(Some(patience))?;
        Ok([one, other].map(Channel::of))
    }

    /// The end that another process has passed on.
    pub fn of(stream: impl Into<UnixStream>) -> Channel {
        Channel {
            stream: stream.into(),
            bytes: Vec::new(),
        }
    }

    /// The socket.
    pub fn into_fd(self) -> OwnedFd {
        self.stream.into()
    }

    /// Ends the connection: reads on both sides then find its end.
    pub fn shut_down(&self) {
        // It may have ended already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a message that is too long; those of the socket.
    pub fn send(&mut self, message: &impl Serialize, file: Option<&impl AsFd>) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.extend([0; LENGTH]);
        let mut bytes = postcard::to_extend(message, bytes).map_err(broken)?;
        let len = bytes.len() - LENGTH;
        if len > MAX {
            let message = format!("a message of {len} bytes");
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        bytes[..LENGTH].copy_from_slice(&(len as u32).to_le_bytes());
        let mut sent = send_some(&self.stream, &bytes, file)?;
        while sent < bytes.len() {
            sent += send_some(&self.stream, &bytes[sent..], None::<&UnixStream>)?;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Waits for a message, at most for `limit` if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] after `limit`; [`ErrorKind::UnexpectedEof`] if the other
    /// side is gone; [`ErrorKind::InvalidData`] for bytes that are no such message.
    pub fn receive<T: DeserializeOwned>(
        &mut self,
        limit: Option<Duration>,
    ) -> io::Result<(T, Option<File>)> {
        self.stream.set_read_timeout(limit)?;
        let (mut length, mut file) = ([0; LENGTH], None);
        receive_all(&self.stream, &mut length, &mut file)?;
        let len = u32::from_le_bytes(length) as usize;
        if len > MAX {
            return Err(broken(format!("a message of {len} bytes")));
        }
        self.bytes.resize(len, 0);
        receive_all(&self.stream, &mut self.bytes, &mut file)?;
        let message = postcard::from_bytes(&self.bytes).map_err(broken)?;
        Ok((message, file))
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// Sends the first bytes, and the file with them; returns their number. A host whose
/// helper is gone gets an error and no SIGPIPE.
fn send_some(to: &UnixStream, bytes: &[u8], file: Option<&impl AsFd>) -> io::Result<usize> {
    let files = file.map(AsFd::as_fd);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.as_slice().is_empty() {
        control.push(SendAncillaryMessage::ScmRights(files.as_slice()));
    }
    loop {
        match sendmsg(
            to,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Fills `bytes`, and takes a file that comes with them.
fn receive_all(from: &UnixStream, bytes: &mut [u8], file: &mut Option<File>) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let rest = &mut [IoSliceMut::new(&mut bytes[filled..])];
        match recvmsg(from, rest, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(received) if received.bytes == 0 => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(received) => filled += received.bytes,
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                *file = files.last().map(File::from);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    const SOON: Option<Duration> = Some(Duration::from_millis(50));

    fn pair() -> [Channel; 2] {
        Channel::pair(Duration::from_secs(1)).unwrap()
    }

    fn kind<T>(result: io::Result<T>) -> ErrorKind {
        result.err().expect("an error").kind()
    }

    #[test]
    fn messages_and_files_arrive() {
        let [mut one, mut other] = pair();
        let (mut read, write) = io::pipe().unwrap();
        let long = vec![7_u64; 200_000];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                one.send(&long, Some(&write)).unwrap();
                one.send(&"short", None::<&File>).unwrap();
            });
            let (message, file) = other.receive::<Vec<u64>>(None).unwrap();
            assert!(message == long);
            file.unwrap().write_all(b"through").unwrap();
            let (message, file) = other.receive::<String>(None).unwrap();
            assert!(message == "short" && file.is_none());
        });
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let [mut one, mut other] = pair();
        assert_eq!(kind(other.receive::<u8>(SOON)), ErrorKind::WouldBlock);
        one.stream.write_all(&[255; 8]).unwrap();
        assert_eq!(kind(other.receive::<u8>(SOON)), ErrorKind::InvalidData);

        let [mut one, mut other] = pair();
        one.send(&5_u8, None::<&File>).unwrap();
        assert_eq!(kind(other.receive::<String>(SOON)), ErrorKind::InvalidData);
        one.stream.write_all(&[9, 0]).unwrap();
        drop(one);
        assert_eq!(kind(other.receive::<u8>(SOON)), ErrorKind::UnexpectedEof);
        assert_eq!(
            kind(other.send(&5_u8, None::<&File>)),
            ErrorKind::BrokenPipe
        );
    }
}

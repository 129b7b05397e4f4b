//! The host's side of a helper: its process, its connections, and its end.

use super::channel::Channel;
use super::message::{Reply, Request};
use ondol::delegate::Code;
use ondol_plugin::{Failure, Result};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, PipeReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The time that a call may take in addition to the time that its caller gave it.
pub const GRACE: Duration = Duration::from_secs(2);

/// The limit of calls that take a driver little time.
pub const SHORT: Duration = Duration::from_secs(30);

/// The limit of calls that may compile, or load a driver.
pub const LONG: Duration = Duration::from_secs(600);

/// How long a helper whose connection has ended may take to end itself.
const ENDING: Duration = Duration::from_secs(2);

/// A running helper, until it is dropped.
pub struct Helper {
    child: Mutex<Child>,
    /// Sends further connections to the helper. The helper ends when this connection is shut down.
    control: Mutex<Channel>,
    /// Connections that no call uses.
    idle: Mutex<Vec<Channel>>,
    /// Why the helper is gone.
    lost: OnceLock<Failure>,
}

impl Helper {
    /// Starts the process.
    ///
    /// # Errors
    /// DEVICE_LOST if it can't be started.
    pub fn start(mut command: Command) -> Result<Helper> {
        let program = command.get_program().display().to_string();
        let start = || -> io::Result<Helper> {
            let [control, served] = Channel::pair(GRACE)?;
            let (printed, print) = io::pipe()?;
            // Ctrl-C in a terminal must not reach the helper: the host decides what to end.
            command.process_group(0);
            command.stdin(served.into_fd());
            command
                .stdout(Stdio::from(print.try_clone()?))
                .stderr(print);
            let child = command.spawn()?;
            // Closes the host's copies of the helper's ends, which would keep the pipe open.
            drop(command);
            thread::Builder::new()
                .name("ondol-helper".into())
                .spawn(|| copy_lines(printed))?;
            Ok(Helper {
                child: Mutex::new(child),
                control: Mutex::new(control),
                idle: Mutex::default(),
                lost: OnceLock::new(),
            })
        };
        start().map_err(|e| Failure::new(Code::DeviceLost, format!("can't start {program}: {e}")))
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// DEVICE_LOST.
    pub fn connect(&self) -> Result<Channel> {
        let connect = || {
            let [own, served] = Channel::pair(GRACE)?;
            lock(&self.control).send(&(), Some(&served.into_fd()))?;
            Ok(own)
        };
        self.unless_lost("a connection", GRACE, connect)
    }

    /// Calls the plug-in over any connection, with a file if the request has one. Returns
    /// the answer, and the file that came with it.
    ///
    /// # Errors
    /// Those of the plug-in; DEVICE_LOST.
    pub fn call<T: DeserializeOwned>(
        &self,
        request: &Request,
        file: Option<&File>,
        limit: Duration,
    ) -> Result<(T, Option<File>)> {
        let idle = lock(&self.idle).pop();
        let mut channel = match idle {
            Some(channel) => channel,
            None => self.connect()?,
        };
        let answer = self.call_over(&mut channel, request, file, limit);
        lock(&self.idle).push(channel);
        answer
    }

    /// Calls the plug-in over a given connection.
    ///
    /// # Errors
    /// As for [`Helper::call`].
    pub fn call_over<T: DeserializeOwned>(
        &self,
        channel: &mut Channel,
        request: &Request,
        file: Option<&File>,
        limit: Duration,
    ) -> Result<(T, Option<File>)> {
        let exchange = || {
            channel.send(request, file.map(AsFd::as_fd).as_ref())?;
            channel.receive::<Reply<T>>(Some(limit))
        };
        let (reply, file) = self.unless_lost(request.name(), limit, exchange)?;
        Ok((reply?, file))
    }

    /// After an error of a connection, or a lack of one, the helper is not used any more.
    fn unless_lost<T>(
        &self,
        name: &str,
        limit: Duration,
        exchange: impl FnOnce() -> io::Result<T>,
    ) -> Result<T> {
        if let Some(lost) = self.lost.get() {
            return Err(lost.clone());
        }
        exchange().map_err(|error| {
            self.lost
                .get_or_init(|| self.lose(name, limit, &error))
                .clone()
        })
    }

    /// Ends the helper, if it has not ended, and says why it is lost.
    fn lose(&self, name: &str, limit: Duration, error: &io::Error) -> Failure {
        let mut child = lock(&self.child);
        let message = match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                format!(
                    "{name}: the plug-in's process ended: {}",
                    end(&mut child, ENDING)
                )
            }
            ErrorKind::WouldBlock => {
                end(&mut child, Duration::ZERO);
                let limit = limit.as_secs_f64();
                format!("{name} did not return within {limit} s; the plug-in's process was killed")
            }
            _ => {
                end(&mut child, Duration::ZERO);
                format!("{name}: {error}; the plug-in's process was killed")
            }
        };
        // Logged too, because some calls can't return an error.
        log::warn!("{message}");
        Failure::new(Code::DeviceLost, message)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        lock(&self.control).shut_down();
        end(&mut lock(&self.child), ENDING);
    }
}

/// Waits for the end of a process, and kills it after `patience`.
fn end(child: &mut Child, patience: Duration) -> String {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return words(status),
            Ok(None) if began.elapsed() < patience => thread::sleep(Duration::from_millis(1)),
            Ok(None) => {
                // It may end by itself at this moment.
                let _ = child.kill();
                return child.wait().map_or_else(|e| e.to_string(), words);
            }
            Err(error) => return error.to_string(),
        }
    }
}

fn words(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return status.to_string();
    };
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

/// Copies what a helper prints, with the log of its plug-in, to standard error.
fn copy_lines(printed: PipeReader) {
    for line in BufReader::new(printed).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_prefix("delegate: ").unwrap_or(&line);
        // Standard error may be closed or full.
        let _ = writeln!(io::stderr(), "delegate: {line}");
    }
}

/// Locks a mutex, also after a panic of another thread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Helper {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        Helper::start(shell).unwrap()
    }

    /// What a call says over a connection whose other end is the test's.
    fn message(helper: &Helper, other: impl FnOnce(Channel)) -> String {
        let [mut own, served] = Channel::pair(GRACE).unwrap();
        other(served);
        let limit = Duration::from_millis(50);
        let answer = helper.call_over::<()>(&mut own, &Request::Info, None, limit);
        let failure = answer.unwrap_err();
        assert_eq!(failure.code, Code::DeviceLost);
        // And every other call says the same.
        assert_eq!(helper.connect().err().unwrap().message, failure.message);
        failure.message
    }

    fn is_over(helper: &Helper) -> bool {
        lock(&helper.child).try_wait().unwrap().is_some()
    }

    #[test]
    fn what_is_no_answer_ends_the_helper() {
        let helper = start("sleep 60");
        let says = message(&helper, |mut served| {
            served.send(&[9_u8; 32], None::<&File>).unwrap();
            std::mem::forget(served);
        });
        assert!(says.starts_with("device_info: "), "{says}");
        assert!(says.ends_with("the plug-in's process was killed"), "{says}");
        assert!(is_over(&helper));
    }

    #[test]
    fn no_answer_ends_the_helper() {
        let helper = start("sleep 60");
        let says = message(&helper, std::mem::forget);
        let expected = "device_info did not return within 0.05 s; the plug-in's process was killed";
        assert_eq!(says, expected);
        assert!(is_over(&helper));
    }

    #[test]
    fn the_end_of_a_helper_is_told() {
        for (script, end) in [
            ("kill -SEGV $$", "SIGSEGV"),
            ("kill -USR1 $$", "signal 10"),
            ("exit 7", "exit status: 7"),
        ] {
            let says = message(&start(script), drop);
            assert_eq!(
                says,
                format!("device_info: the plug-in's process ended: {end}")
            );
        }
    }
}

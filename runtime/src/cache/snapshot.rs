//! A session in a file: its tokens, and the state that the layers keep of them.
//!
//! The file holds, little-endian: a magic and a version; the [`Identity`]; the number of
//! tokens, and the tokens; for each slot the bytes that a sequence needs to go on; the
//! last logits; and a SHA-256 of all before it.

use super::{Cache, CacheLayout};
use crate::kernels::attention::KvType;
use crate::plan::Region;
use crate::weights::Weights;
use ondol_models::graph::{Graph, Op};
use ondol_models::quant::packed;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::vec::Vec;

const MAGIC: [u8; 8] = *b"ONDOLSES";
const VERSION: u32 = 1;

/// Why a saved session can't be taken up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file could not be read or written.
    #[error("the saved session can't be read or written: {0}")]
    Io(#[from] io::Error),
    /// It is no saved session.
    #[error("this is no saved session, or one of another version of Ondol")]
    NotASession,
    /// It is damaged.
    #[error("the saved session is damaged")]
    Damaged,
    /// It was saved with another model, or another type of cache.
    #[error("the session was saved with another model, or another type of KV cache")]
    OtherModel,
    /// It does not fit in the context.
    #[error("the saved session has {tokens} tokens, and the context has room for {context}")]
    DoesNotFit {
        /// Tokens that were saved.
        tokens: usize,
        /// Tokens that there is room for.
        context: usize,
    },
}

/// What a state belongs to: a digest of the model and of the type of its cache.
pub type Identity = [u8; 32];

/// The identity of a model's states in a cache of this type: of a packed copy it is that
/// of the original. Of each weight a row is looked at.
pub fn identity(graph: &Graph, weights: &Weights, kv_type: KvType) -> Identity {
    let mut digest = Sha256::new();
    digest.update(kv_type.name());
    for state in graph.states() {
        digest.update(std::format!("{state:?}"));
    }
    let matrices = graph.nodes.iter().filter_map(|node| match node.op {
        Op::MatMul { weight, .. } => Some(weight),
        Op::Embed { table, .. } => Some(table),
        _ => None,
    });
    let vectors = graph.nodes.iter().filter_map(|node| node.op.vector());
    for weight in matrices.chain(vectors) {
        let mut row = std::vec![0.0; weight.cols];
        let rows = weights.rows(&weight);
        let middle = weight.rows / 2;
        // A row that can't be had is zero in all copies of the model.
        let _ = packed::dequantize_row(weight.dtype, weight.layout, rows, middle, &mut row);
        row.iter().for_each(|x| digest.update(x.to_le_bytes()));
    }
    digest.finalize().into()
}

/// Writes and digests.
struct Digesting<S> {
    inner: S,
    digest: Sha256,
}

impl<S> Digesting<S> {
    fn new(inner: S) -> Digesting<S> {
        Digesting {
            inner,
            digest: Sha256::new(),
        }
    }
}

impl<W: Write> Digesting<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.inner.write_all(bytes)
    }

    fn put_number(&mut self, number: usize) -> io::Result<()> {
        self.put(&(number as u64).to_le_bytes())
    }

    fn seal(mut self) -> io::Result<()> {
        let digest = self.digest.finalize();
        self.inner.write_all(&digest)
    }
}

impl<R: Read> Digesting<R> {
    fn take(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.inner
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => SnapshotError::Damaged,
                _ => SnapshotError::Io(error),
            })?;
        self.digest.update(bytes);
        Ok(())
    }

    fn take_number(&mut self) -> Result<usize, SnapshotError> {
        let mut bytes = [0; 8];
        self.take(&mut bytes)?;
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| SnapshotError::Damaged)
    }

    fn check(mut self) -> Result<(), SnapshotError> {
        let mut expected = [0; 32];
        self.inner
            .read_exact(&mut expected)
            .map_err(|_| SnapshotError::Damaged)?;
        let is_whole = self.digest.finalize()[..] == expected;
        is_whole.then_some(()).ok_or(SnapshotError::Damaged)
    }
}

/// What is saved of a session beside the states.
pub struct Saved {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The logits after the last.
    pub logits: Vec<u8>,
}

impl Cache {
    /// Writes the state of `tokens`.
    pub fn save(
        &self,
        layout: &CacheLayout,
        identity: &Identity,
        saved: &Saved,
        out: impl Write,
    ) -> io::Result<()> {
        let mut out = Digesting::new(out);
        out.put(&MAGIC)?;
        out.put(&VERSION.to_le_bytes())?;
        out.put(identity)?;
        out.put_number(self.end)?;
        for token in &saved.tokens {
            out.put(&token.to_le_bytes())?;
        }
        for part in self.parts(layout, self.end) {
            // SAFETY: no pass runs.
            out.put(unsafe { self.memory.bytes(part) })?;
        }
        out.put(&saved.logits)?;
        out.seal()
    }

    /// Takes up a state that was saved; without one where that fails.
    pub fn restore(
        &mut self,
        layout: &CacheLayout,
        identity: &Identity,
        logits: usize,
        from: impl Read,
    ) -> Result<Saved, SnapshotError> {
        let restored = self.try_restore(layout, identity, logits, from);
        match &restored {
            Ok(saved) => {
                self.end = saved.tokens.len();
                self.set_checkpoint(layout);
            }
            Err(_) => self.clear(layout),
        }
        restored
    }

    /// The parts of the memory that a sequence of `end` tokens needs to go on.
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
        logits: usize,
        from: impl Read,
    ) -> Result<Saved, SnapshotError> {
        self.clear(layout);
        let mut from = Digesting::new(from);
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
        let (tokens, context) = (from.take_number()?, layout.context);
        if tokens > context {
            return Err(SnapshotError::DoesNotFit { tokens, context });
        }
        let mut ids = std::vec![0; tokens * 4];
        from.take(&mut ids)?;
        let (ids, _) = ids.as_chunks::<4>();
        for part in self.parts(layout, tokens) {
            // SAFETY: no pass runs.
            from.take(unsafe { self.memory.bytes_mut(part) })?;
        }
        for (slot, first) in layout.slots.iter().zip(&mut self.first) {
            *first = slot.needed(tokens);
        }
        let mut last = std::vec![0; logits];
        from.take(&mut last)?;
        from.check()?;
        Ok(Saved {
            tokens: ids.iter().map(|id| u32::from_le_bytes(*id)).collect(),
            logits: last,
        })
    }
}

//! Which stages of a model a delegate's device computes faster than the CPU: measured in
//! turns, and kept for later runs.
//!
//! A stage is what [`OffloadOptions`] can place: the matmuls of prefill, or those of
//! decode. Attention, rotation and the output head run on the CPU in either case, since
//! the contract has no operations for them.

use crate::cache::snapshot;
use crate::delegate::{Blobs, Delegate, Hash, Offload, OffloadOptions};
use crate::sizing::Sizing;
use crate::{CancelToken, Error, Isa, Model, Result, Session, SessionOptions};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::format;
use std::path::PathBuf;
use std::time::Instant;
use std::vec::Vec;

/// Which stages run on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Whether prefill's matmuls do.
    pub prefill: bool,
    /// Whether decode's matmuls do.
    pub decode: bool,
}

/// What is run to compare device and CPU.
#[derive(Debug, Clone, Copy)]
pub struct Work<'t> {
    /// The prompt that prefill computes.
    pub prompt: &'t [u32],
    /// The tokens that decode computes, one by one.
    pub decoded: &'t [u32],
    /// Rounds that count, after one to warm up; at least one.
    pub rounds: usize,
}

/// The times of each stage; `None` for a stage that the offload leaves to the CPU.
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    /// The CPU's kernels.
    pub isa: Isa,
    /// The CPU's threads.
    pub threads: usize,
    /// Of the whole prompt.
    pub prefill: Option<Pair>,
    /// Of all decoded tokens.
    pub decode: Option<Pair>,
}

/// The times of a stage in both places.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// Median of the times on the CPU alone.
    pub cpu: Duration,
    /// Median of the times with the device.
    pub device: Duration,
    /// Median of the rounds' quotients of the CPU's time and the device's: above 1 the
    /// device is faster.
    pub speedup: f64,
}

/// A stage's run in one session; returns its time.
type Stage = fn(&mut Session, &Work<'_>, &CancelToken) -> Result<Duration>;

impl Comparison {
    /// Runs each stage of `offload` with the device and on the CPU, in turns, so that a
    /// machine that changes its speed changes it for both. Both use the options
    /// `session`, whose context must have room for the work. Calls `progress` with the
    /// number of finished rounds and the number of all.
    ///
    /// # Errors
    /// Those of [`Model::session`], [`Session::prefill`] and [`Session::decode`];
    /// [`Error::Delegate`] if the offload is strict and the device fails. If it is not
    /// strict, the times of a device that fails are the CPU's.
    pub fn measure(
        offload: &Offload,
        session: &SessionOptions,
        work: &Work<'_>,
        cancel: &CancelToken,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Comparison> {
        let [mut cpu, mut device] = sessions(offload, session)?;
        let placed = offload.report().work;
        let stages = [placed.prefill, placed.decode].into_iter();
        let all = stages.filter(|&share| share > 0.0).count() * (work.rounds + 1);
        let mut done = 0;
        let mut compare = |share: f64, stage: Stage| -> Result<Option<Pair>> {
            if share == 0.0 {
                return Ok(None);
            }
            let mut rounds = Vec::with_capacity(work.rounds);
            for round in 0..=work.rounds {
                let times = in_turns(&mut cpu, &mut device, round, |session| {
                    stage(session, work, cancel)
                })?;
                // Round 0 brings the weights into memory and wakes threads and device.
                rounds.extend((round > 0).then_some(times));
                done += 1;
                progress(done, all);
            }
            Ok(Some(Pair::of(&rounds)))
        };
        let (prefill, decode) = (
            compare(placed.prefill, prefill)?,
            compare(placed.decode, decode)?,
        );
        Ok(Comparison {
            isa: cpu.engine().isa(),
            threads: cpu.engine().threads(),
            prefill,
            decode,
        })
    }

    /// The faster place of each stage.
    pub fn split(&self) -> Split {
        let is_faster = |pair: Option<Pair>| pair.is_some_and(|pair| pair.device_is_faster());
        Split {
            prefill: is_faster(self.prefill),
            decode: is_faster(self.decode),
        }
    }
}

impl Pair {
    /// Whether the device is faster than the CPU; one that is as fast is not.
    pub fn device_is_faster(&self) -> bool {
        self.speedup > 1.0
    }

    /// From the times of rounds, on the CPU and with the device.
    fn of(rounds: &[[Duration; 2]]) -> Pair {
        let seconds = |place: usize| rounds.iter().map(move |times| times[place].as_secs_f64());
        let median_of = |place| Duration::from_secs_f64(median(seconds(place).collect()));
        Pair {
            cpu: median_of(0),
            device: median_of(1),
            speedup: median(seconds(0).zip(seconds(1)).map(|(x, y)| x / y).collect()),
        }
    }
}

/// The middle of some values; of two in the middle, the lower one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get((values.len().max(1) - 1) / 2)
        .copied()
        .unwrap_or(0.0)
}

/// A session on the CPU alone, and one with the device.
fn sessions(offload: &Offload, options: &SessionOptions) -> Result<[Session; 2]> {
    let on = |offload: Option<&Offload>, model: &Model| {
        let offload = offload.cloned();
        model.session(&SessionOptions {
            offload,
            ..options.clone()
        })
    };
    let model = &offload.0.model;
    Ok([on(None, model)?, on(Some(offload), model)?])
}

/// The times of a run on the CPU and of one with the device. The order changes with each
/// round, because the second run may find a hotter CPU or warmer caches.
fn in_turns(
    cpu: &mut Session,
    device: &mut Session,
    round: usize,
    mut run: impl FnMut(&mut Session) -> Result<Duration>,
) -> Result<[Duration; 2]> {
    if round.is_multiple_of(2) {
        return Ok([run(cpu)?, run(device)?]);
    }
    let of_device = run(device)?;
    Ok([run(cpu)?, of_device])
}

fn prefill(session: &mut Session, work: &Work<'_>, cancel: &CancelToken) -> Result<Duration> {
    session.clear();
    let began = Instant::now();
    session.prefill(work.prompt, cancel)?;
    Ok(began.elapsed())
}

fn decode(session: &mut Session, work: &Work<'_>, cancel: &CancelToken) -> Result<Duration> {
    session.clear();
    let began = Instant::now();
    for &token in work.decoded {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        session.decode(token)?;
    }
    Ok(began.elapsed())
}

/// The split that is kept for a device, a model and a CPU, in the folder of programs
/// ([`OffloadOptions::cache`]). A rebuilt plug-in, another driver, a packed copy in the
/// place of the file, other kernels or another number of threads find none.
pub struct SplitFile {
    blobs: Blobs,
    key: Hash,
}

/// A kept split that can't be read. It does not count as kept.
#[derive(Debug, thiserror::Error)]
#[error("the split that was kept in {} is damaged", path.display())]
pub struct DamagedSplit {
    /// Its file.
    pub path: PathBuf,
}

impl SplitFile {
    /// Where the split for these options is kept; `None` if they name no folder, but a
    /// bundle or nothing.
    ///
    /// # Errors
    /// As for [`Model::memory`].
    pub fn find(
        model: &Model,
        delegate: &Delegate,
        options: &OffloadOptions,
        session: &SessionOptions,
    ) -> Result<Option<SplitFile>> {
        let Some(folder) = options.cache.as_ref().filter(|path| !path.is_file()) else {
            return Ok(None);
        };
        let sizing = Sizing::new(model, session)?;
        let cpu = (sizing.kernels.isa(), sizing.sizes.threads);
        let rows = (options.rows, session.prefill_chunk);
        let kv_type = sizing.sizes.kv_type;
        let states = snapshot::identity(&model.0.graph, &model.0.weights, kv_type);
        let of_model = (states, model.is_packed());
        let key = format!(
            "split {:?} {cpu:?} {rows:?} {of_model:?}",
            delegate.identity()
        );
        Ok(Some(SplitFile {
            blobs: Blobs::new(folder),
            key: Sha256::digest(key).into(),
        }))
    }

    /// The split; `None` if none is kept.
    ///
    /// # Errors
    /// [`DamagedSplit`] if it can't be read, or is not as it was written.
    pub fn read(&self) -> Result<Option<Split>, DamagedSplit> {
        let bytes = self.blobs.read(&self.key);
        match bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            Some(split) => Ok(Some(split)),
            None => match self.blobs.file(&self.key) {
                Some(path) => Err(DamagedSplit { path }),
                None => Ok(None),
            },
        }
    }

    /// Keeps a split, in the place of an earlier one: whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, split: Split) -> Result<()> {
        let failed = |source| Error::Io {
            path: self.blobs.path(&self.key),
            source,
        };
        let bytes = serde_json::to_vec(&split).map_err(|e| failed(e.into()))?;
        self.blobs.write(&self.key, &bytes).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_judged_by_its_rounds() {
        let ms = Duration::from_millis;
        // A machine that becomes ten times as slow: the device is twice as fast in all.
        let rounds = [[ms(4), ms(2)], [ms(40), ms(20)], [ms(400), ms(200)]];
        let pair = Pair::of(&rounds);
        assert_eq!((pair.cpu, pair.device), (ms(40), ms(20)));
        assert_eq!(pair.speedup, 2.0);
        let split = |speedup| {
            let pair = Some(Pair { speedup, ..pair });
            let (isa, threads, prefill, decode) = (Isa::Scalar, 1, pair, None);
            Comparison {
                isa,
                threads,
                prefill,
                decode,
            }
            .split()
        };
        assert_eq!(
            split(1.1),
            Split {
                prefill: true,
                decode: false
            }
        );
        // Equal is not faster.
        assert_eq!(
            split(1.0),
            Split {
                prefill: false,
                decode: false
            }
        );
    }
}

//! Options of an engine and its sessions.

use crate::arguments::{output, string};
use crate::call::{Failure, call};
use crate::sized::{self, Sized32};
use crate::status::{ondol_error, ondol_status};
use core::ffi::c_char;
use core::ptr::null;
use core::str::FromStr;
use runtime::SessionOptions;

#[cfg(feature = "std")]
use runtime::{Affinity, ScreenOptions};

/// Passes thermal state and memory pressure, which the app reports, to the engines that
/// were made with it, and pauses their sessions. Any thread may use it. It changes when the
/// work is done and by how many threads, never the result. Its functions must not be called
/// from a signal handler. Not in firmware builds.
#[cfg_attr(not(feature = "std"), allow(dead_code))]
pub struct ondol_governor {
    pub(crate) governor: runtime::Governor,
}

/// The parts of a model that a plug-in's device runs, for any number of engines. Not in
/// firmware builds.
#[cfg_attr(not(feature = "std"), allow(dead_code))]
pub struct ondol_offload {
    #[cfg(feature = "std")]
    pub(crate) offload: runtime::delegate::Offload,
}

/// Options of an engine and its sessions. Fill them in with `ondol_session_defaults`,
/// then change what you want. NULL in place of the struct means the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_session_options {
    /// `sizeof(ondol_session_options)`.
    pub struct_size: u32,
    /// Threads, the calling thread included; 0, the default, uses one for each big
    /// core. Firmware builds use only the calling thread.
    pub threads: u32,
    /// Context in tokens; 0, the default, uses the context that the model was trained
    /// for, at most 4096.
    pub context: u32,
    /// The largest number of tokens in one prefill pass, at least 1; by default 256. A
    /// smaller number needs less memory.
    pub prefill_chunk: u32,
    /// The most bytes that an engine, its sessions and the model's own memory may take
    /// together, without the mapped weights; an engine or session beyond it is refused. 0,
    /// the default, sets no limit.
    pub memory_limit: u64,
    /// Name of the kernels ("exact", "scalar", ...); NULL, the default, uses the
    /// fastest that the CPU can run.
    pub kernels: *const c_char,
    /// Type of the KV cache: "f16" (also for NULL); "q8_0", which takes 34 bytes where
    /// f16 takes 64; or "f32", which rounds nothing and takes 128. Firmware builds do
    /// not have the last.
    pub kv_type: *const c_char,
    /// The governor of the sessions; may be NULL. This field and those after it are not
    /// in firmware builds.
    pub governor: *const ondol_governor,
    /// Runs parts of the model on a delegate's device; may be NULL. It must have been
    /// made for this model.
    pub offload: *const ondol_offload,
    /// Where the threads run: a value of `ondol_affinity`.
    pub affinity: u32,
    /// The largest number of drafts in one decode pass; by default 7, 0 switches drafts
    /// off. Drafts save time and never change the generated tokens.
    pub drafts: u32,
    /// The largest number of sessions that an `ondol_batch` decodes in one pass, at
    /// most 32; by default 1.
    pub batch: u32,
    /// 1, the default, uses the screen of the output head if the file has one; 0 does not.
    pub screen: u32,
    /// The margin of the screen, in standard deviations of its error; by default 6.
    pub screen_margin: f32,
    /// Tokens from one audit of the screen to the next; by default 256, 0 audits never.
    pub screen_audit_every: u32,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_session_options {}

/// Where the threads of an engine run.
#[repr(u32)]
#[cfg_attr(not(feature = "std"), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_affinity {
    /// The system chooses the cores.
    Free = 0,
    /// On the big cores that the process may use, on Linux and Android, unless the
    /// system refuses. The calling thread is not pinned.
    BigCores = 1,
}

impl ondol_session_options {
    /// What [`SessionOptions::default`] says.
    fn defaults() -> ondol_session_options {
        let rust = SessionOptions::default();
        #[cfg(feature = "std")]
        let (screen, margins) = (rust.screen.is_some(), rust.screen.unwrap_or_default());
        ondol_session_options {
            struct_size: size_of::<ondol_session_options>() as u32,
            threads: rust.threads.unwrap_or(0) as u32,
            context: rust.context.unwrap_or(0) as u32,
            prefill_chunk: rust.prefill_chunk as u32,
            memory_limit: rust.memory_limit.unwrap_or(0),
            kernels: null(),
            kv_type: null(),
            governor: null(),
            offload: null(),
            affinity: rust.affinity as u32,
            drafts: rust.drafts as u32,
            batch: rust.batch as u32,
            #[cfg(feature = "std")]
            screen: screen.into(),
            #[cfg(feature = "std")]
            screen_margin: margins.margin,
            #[cfg(feature = "std")]
            screen_audit_every: margins.audit_every as u32,
            #[cfg(not(feature = "std"))]
            screen: 0,
            #[cfg(not(feature = "std"))]
            screen_margin: 0.0,
            #[cfg(not(feature = "std"))]
            screen_audit_every: 0,
        }
    }
}

/// Fills in the defaults, up to the end of the caller's struct. Before the call set
/// `struct_size`, and all other bytes to zero.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_defaults(
    options: *mut ondol_session_options,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            output(options, "options is NULL")?;
            sized::write(&ondol_session_options::defaults(), options);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The runtime's options for the caller's options.
///
/// # Errors
/// [`Failure::Argument`] and the runtime's errors for a struct, a name or a value that
/// can't be used.
///
/// # Safety
/// As for [`sized::read`], and names are strings.
pub unsafe fn options(from: *const ondol_session_options) -> Result<SessionOptions, Failure> {
    // SAFETY: passed on to the caller.
    let from = unsafe { sized::read_or(from, ondol_session_options::defaults()) }?;
    if from.prefill_chunk == 0 {
        let wrong = "prefill_chunk is 0; call ondol_session_defaults before you set options";
        return Err(Failure::Argument(wrong));
    }
    let set = |value: u32| (value != 0).then_some(value as usize);
    let defaults = SessionOptions::default();
    // SAFETY: passed on to the caller.
    let (kernels, kv_type) = unsafe {
        (
            name(from.kernels, "kernels is not UTF-8")?,
            name(from.kv_type, "kv_type is not UTF-8")?,
        )
    };
    let options = SessionOptions {
        threads: set(from.threads),
        kernels,
        context: set(from.context),
        kv_type: kv_type.unwrap_or(defaults.kv_type),
        prefill_chunk: from.prefill_chunk as usize,
        memory_limit: (from.memory_limit != 0).then_some(from.memory_limit),
        #[cfg(target_os = "none")]
        governor: crate::firmware::governor(),
        ..defaults
    };
    #[cfg(feature = "std")]
    // SAFETY: passed on to the caller.
    let options = unsafe { hosted(&from, options) }?;
    Ok(options)
}

/// The options that firmware does not have.
///
/// # Safety
/// The handles are NULL or were made by this library.
#[cfg(feature = "std")]
unsafe fn hosted(
    from: &ondol_session_options,
    options: SessionOptions,
) -> Result<SessionOptions, Failure> {
    const FREE: u32 = ondol_affinity::Free as u32;
    const BIG_CORES: u32 = ondol_affinity::BigCores as u32;
    // SAFETY: passed on to the caller.
    let governor = unsafe { from.governor.as_ref() };
    let screen = ScreenOptions {
        margin: from.screen_margin,
        audit_every: from.screen_audit_every as usize,
    };
    Ok(SessionOptions {
        governor: governor.map_or(options.governor, |g| g.governor.clone()),
        // SAFETY: passed on to the caller.
        offload: unsafe { from.offload.as_ref() }.map(|o| o.offload.clone()),
        affinity: match from.affinity {
            FREE => Affinity::Free,
            BIG_CORES => Affinity::BigCores,
            _ => {
                return Err(Failure::Argument(
                    "affinity is not a value of ondol_affinity",
                ));
            }
        },
        drafts: from.drafts as usize,
        batch: from.batch as usize,
        screen: (from.screen != 0).then_some(screen),
        ..options
    })
}

/// The value that a name stands for; `None` for NULL.
///
/// # Safety
/// It is NULL or a string.
unsafe fn name<T: FromStr<Err: Into<runtime::Error>>>(
    name: *const c_char,
    wrong: &'static str,
) -> Result<Option<T>, Failure> {
    if name.is_null() {
        return Ok(None);
    }
    // SAFETY: passed on to the caller.
    let name = unsafe { string(name, wrong) }?;
    Ok(Some(name.parse().map_err(Into::into)?))
}

//! The objects of a [`Plugin`]: its devices and programs, with what this crate adds to
//! them. Objects that several handles use are in an `Arc`.

use crate::device::Opened;
use crate::failure::{Failure, Result, entry, invalid};
use crate::graph::Graph;
use crate::handle::put;
use crate::program::{self, Compiled};
use crate::session::{Buffer, Job, Session};
use crate::table::{Binding, Log, Objects, Optional, api};
use crate::{Device, Plugin};
use core::marker::PhantomData;
use core::time::Duration;
use ondol::delegate::{Code, Metrics, ffi};
use std::sync::Arc;
use std::time::Instant;

/// The objects of a plug-in.
struct Of<P>(PhantomData<P>);

impl<P: Plugin> Of<P> {
    const API: &'static ffi::Api = &api::<Of<P>>(
        [P::NAME.as_ptr(), P::VERSION.as_ptr(), P::LICENCE.as_ptr()],
        Optional {
            inject: P::Device::INJECT.is_some(),
            reset: P::Device::RESET.is_some(),
        },
    );
}

/// The `ondol_npu_get_api` of a plug-in that is linked into the program.
/// [`crate::export!`] makes it the symbol of a shared library.
///
/// # Safety
/// `out` is null, or a valid place for a pointer.
pub unsafe extern "C" fn get_api<P: Plugin>(
    host_major: u32,
    _host_minor: u32,
    out: *mut *const ffi::Api,
) -> ffi::Status {
    let call = || {
        if host_major != u32::from(ffi::ABI_MAJOR) {
            let message = format!("a host of version {host_major}");
            return Err(Failure::new(Code::Incompatible, message));
        }
        // SAFETY: passed on to the caller.
        unsafe { put(out, core::ptr::from_ref(Of::<P>::API)) }
    };
    // SAFETY: there is no error to fill in.
    unsafe { entry(core::ptr::null_mut(), call) }
}

impl<P: Plugin> Objects for Of<P> {
    type Device = Arc<Opened<P::Device>>;
    type Program = Arc<Compiled<P::Device>>;
    type Session = Session<P::Device>;
    type Buffer = Buffer<P::Device>;
    type Job = Arc<Job>;

    fn init(host: &ffi::Host) -> Result<()> {
        P::init(&Log(host))
    }

    fn device_count() -> u32 {
        P::device_count()
    }

    fn open(index: u32) -> Result<Self::Device> {
        if index >= P::device_count() {
            return Err(invalid(format!("there is no device {index}")));
        }
        Ok(Arc::new(Opened::new(P::open(index)?, P::NAME, P::VERSION)))
    }

    fn info(device: &Self::Device) -> Result<ffi::DeviceInfo> {
        Ok(device.info())
    }

    fn inject(device: &Self::Device, fault: &str, after: u32) -> Result<()> {
        let inject = P::Device::INJECT.ok_or_else(|| invalid("this plug-in has no faults"))?;
        inject(&device.device, fault, after)
    }

    fn reset(device: &Self::Device) -> Result<()> {
        let reset = P::Device::RESET.ok_or_else(|| invalid("this plug-in has no reset"))?;
        reset(&device.device)
    }

    unsafe fn claim(
        device: &Self::Device,
        graph: *const ffi::Graph,
    ) -> Result<Vec<Option<String>>> {
        // SAFETY: passed on to the caller.
        let graph = unsafe { Graph::read(graph) }?;
        let claims = program::claim(device, &graph)?.into_iter();
        Ok(claims.map(core::result::Result::err).collect())
    }

    unsafe fn compile(device: &Self::Device, graph: *const ffi::Graph) -> Result<Self::Program> {
        // SAFETY: passed on to the caller.
        let graph = unsafe { Graph::read(graph) }?;
        Ok(Arc::new(Compiled::compile(device, &graph)?))
    }

    fn save(program: &Self::Program) -> Result<Vec<u8>> {
        program.save()
    }

    fn load(device: &Self::Device, blob: &[u8]) -> Result<Self::Program> {
        Ok(Arc::new(Compiled::load(device, blob)?))
    }

    fn session(programs: Vec<Self::Program>) -> Result<Self::Session> {
        Session::new(programs)
    }

    fn import(device: &Self::Device, memory: &ffi::Mem) -> Result<Self::Buffer> {
        Buffer::import(device, memory)
    }

    unsafe fn submit(
        session: &Self::Session,
        program: u32,
        bindings: &[Binding<Self::Buffer>],
        deadline: Duration,
    ) -> Result<Self::Job> {
        let deadline = (!deadline.is_zero()).then(|| Instant::now().checked_add(deadline));
        session.submit(program, bindings, deadline.flatten())
    }

    fn wait(job: &Self::Job, timeout: Duration) -> (bool, Result<Metrics>) {
        match job.wait(timeout) {
            None => (false, Ok(Metrics::default())),
            Some(end) => {
                let measured = Metrics {
                    time: Some(end.time),
                    ..Metrics::default()
                };
                (true, end.outcome.map(|()| measured))
            }
        }
    }

    fn cancel(job: &Self::Job) -> Result<()> {
        job.cancel();
        Ok(())
    }
}

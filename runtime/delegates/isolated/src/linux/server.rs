//! The helper's side: loads the plug-in, and calls it for each request.

use super::channel::Channel;
use super::helper::lock;
use super::message::{
    Form, Graph, Info, Opened, Reply, Reported, Request, SessionProgram, VERSION, Waited, raw_form,
};
use super::zone::{Guarded, Slot, Zone, file_of};
use ondol::delegate::segment::{self, Segment};
use ondol::delegate::{
    Buffer, Code, Delegate, DelegateError, DeviceInfo, DeviceSession, Group, Job, Label, Outcome,
    Place, Program, Quant, Quantized, ffi,
};
use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The stack of the threads that call the plug-in, in bytes. It is as large as that of a
/// program's first thread, because a compiler may recurse deeply.
const STACK: usize = 8 << 20;

/// Serves the host whose socket is standard input, and ends the process when it is gone.
pub fn serve() -> io::Error {
    match take_connections() {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            // Not `exit`: the plug-in's threads may still run, or hang.
            // SAFETY: ends the process; nothing of it is used after.
            unsafe { libc::_exit(0) }
        }
        Err(error) => error,
        Ok(never) => match never {},
    }
}

fn take_connections() -> io::Result<Infallible> {
    let mut control = Channel::of(io::stdin().as_fd().try_clone_to_owned()?);
    let device = Arc::new(Device::default());
    loop {
        let ((), connection) = control.receive(None)?;
        let connection = connection.ok_or(ErrorKind::InvalidData)?;
        let mut connection = Connection {
            channel: Channel::of(OwnedFd::from(connection)),
            device: device.clone(),
            session: None,
        };
        let thread = thread::Builder::new().stack_size(STACK);
        thread.spawn(move || connection.serve())?;
    }
}

/// What all connections share.
#[derive(Default)]
struct Device {
    delegate: Mutex<Option<Delegate>>,
    programs: Mutex<Programs>,
}

#[derive(Default)]
struct Programs {
    by_id: HashMap<u64, Program>,
    last: u64,
}

/// A connection, with the session that the host has made over it.
struct Connection {
    channel: Channel,
    device: Arc<Device>,
    session: Option<Session>,
}

impl Connection {
    /// Answers requests until the host ends the connection. A message that can't be read
    /// ends it too, which the host sees as the end of the helper.
    fn serve(&mut self) {
        while let Ok((request, file)) = self.channel.receive::<Request>(None) {
            if self.answer(request, file.as_ref()).is_err() {
                return;
            }
        }
    }

    fn answer(&mut self, request: Request, file: Option<&File>) -> io::Result<()> {
        let device = &self.device;
        let Connection {
            channel, session, ..
        } = self;
        let none = None::<&File>;
        match request {
            Request::Open {
                version,
                plugin,
                device: index,
            } => channel.send(&device.open(&version, &plugin, index), none),
            Request::Close => channel.send(&device.close(), none),
            Request::Info => channel.send(&device.info(), none),
            Request::Inject { fault, after } => channel.send(&device.inject(fault, after), none),
            Request::Reset => channel.send(&device.reset(), none),
            Request::Claim(graph) => channel.send(&device.claim(graph), none),
            Request::Compile(graph) => channel.send(&device.compile(graph, file), none),
            Request::Load { bytes } => channel.send(&device.load(bytes, file), none),
            Request::Save { program } => match device.save(program) {
                Ok((bytes, saved)) => channel.send(&Reply::Ok(bytes), Some(&saved)),
                Err(reported) => channel.send(&Reply::<u64>::Err(reported), none),
            },
            Request::FreeProgram { program } => channel.send(&device.free_program(program), none),
            Request::Session { programs, zones } => {
                let made = Session::new(device, &programs, &zones, file);
                channel.send(&made.map(|made| *session = Some(made)), none)
            }
            Request::FreeSession => {
                *session = None;
                channel.send(&Reply::Ok(()), none)
            }
            Request::Submit { program, deadline } => {
                let submit = |session: &mut Session| session.submit(program as usize, deadline);
                channel.send(&with(session, submit), none)
            }
            Request::Wait { timeout } => {
                channel.send(&with(session, |session| Ok(session.wait(timeout))), none)
            }
            Request::Cancel => channel.send(&with(session, Session::cancel), none),
        }
    }
}

fn with<T>(session: &mut Option<Session>, call: impl FnOnce(&mut Session) -> Reply<T>) -> Reply<T> {
    let no_session = || Reported::new(Code::Invalid, "there is no session");
    call(session.as_mut().ok_or_else(no_session)?)
}

fn system(error: io::Error) -> Reported {
    Reported::new(Code::NoMemory, format!("shared memory: {error}"))
}

// ---- the device and its programs ----------------------------------------------------

impl Device {
    fn open(&self, version: &str, plugin: &Path, index: u32) -> Reply<Opened> {
        if version != VERSION {
            let message = format!("a helper of version {VERSION}, and a host of {version}");
            return Err(Reported::new(Code::Incompatible, message));
        }
        // SAFETY: this process serves only the plug-in. Damage by the plug-in stays in it: the host
        // trusts nothing that the helper says.
        let delegate = unsafe { Delegate::load_device(plugin, index) }?;
        let opened = Opened {
            plugin: delegate.info().plugin.clone(),
            injects_faults: delegate.info().injects_faults,
            resets: delegate.info().resets,
        };
        *lock(&self.delegate) = Some(delegate);
        Ok(opened)
    }

    fn close(&self) -> Reply<()> {
        lock(&self.programs).by_id.clear();
        *lock(&self.delegate) = None;
        Ok(())
    }

    fn delegate(&self) -> Reply<Delegate> {
        let delegate = lock(&self.delegate).clone();
        delegate.ok_or_else(|| Reported::new(Code::Invalid, "no device is open"))
    }

    fn info(&self) -> Reply<Info> {
        let DeviceInfo {
            vendor,
            device,
            arch,
            driver,
            firmware,
            label,
            arithmetic,
            quants,
            rows,
            memory,
            memory_free,
            memory_limit,
            plugin: _,
            injects_faults: _,
            resets: _,
        } = self.delegate()?.read_info()?;
        Ok(Info {
            names: [vendor, device, arch, driver, firmware],
            flags: match label {
                Label::Hardware => 0,
                Label::Emulator => ffi::DEVICE_EMULATED,
                Label::ContractStub => ffi::DEVICE_STUB,
            },
            memory,
            memory_free,
            memory_limit,
            activations: arithmetic.activations.raw(),
            activation_group: match arithmetic.group {
                Group::Of(group) => group as u32,
                Group::Row => ffi::GROUP_ROW,
            },
            accumulator_bits: arithmetic.accumulator_bits,
            rounding: arithmetic.rounding.raw(),
            quants: quants.iter().map(form).collect(),
            rows: rows.into_iter().map(|rows| rows as u32).collect(),
        })
    }

    fn inject(&self, fault: String, after: u32) -> Reply<()> {
        let fault = CString::new(fault).map_err(|e| Reported::new(Code::Invalid, e.to_string()))?;
        Ok(self.delegate()?.inject(&fault, after)?)
    }

    fn reset(&self) -> Reply<()> {
        Ok(self.delegate()?.reset()?)
    }

    fn claim(&self, graph: Graph) -> Reply<Vec<Option<String>>> {
        Ok(self.delegate()?.claim(&segment(graph, None)?)?)
    }

    fn compile(&self, graph: Graph, weights: Option<&File>) -> Reply<u64> {
        let segment = segment(graph, weights)?;
        Ok(self.add(self.delegate()?.compile(&segment)?))
    }

    fn load(&self, bytes: u64, file: Option<&File>) -> Reply<u64> {
        let blob = match file {
            Some(file) => read(file, &mut 0, bytes)?,
            None => Vec::new(),
        };
        Ok(self.add(self.delegate()?.load_program(&blob)?))
    }

    fn add(&self, program: Program) -> u64 {
        let mut programs = lock(&self.programs);
        programs.last += 1;
        let id = programs.last;
        programs.by_id.insert(id, program);
        id
    }

    fn program(&self, id: u64) -> Reply<Program> {
        let program = lock(&self.programs).by_id.get(&id).cloned();
        program.ok_or_else(|| Reported::new(Code::Invalid, format!("there is no program {id}")))
    }

    fn save(&self, id: u64) -> Reply<(u64, File)> {
        let blob = self.program(id)?.save()?;
        let file = file_of([blob.as_slice()]).map_err(system)?;
        Ok((blob.len() as u64, file))
    }

    fn free_program(&self, id: u64) -> Reply<()> {
        let program = lock(&self.programs).by_id.remove(&id);
        // Dropped without the lock, because the drop calls the plug-in.
        drop(program);
        Ok(())
    }
}

fn form(quant: &Quant) -> Form {
    let raw = quant.raw();
    [raw.store, raw.group, raw.scale_type]
}

// ---- graphs -------------------------------------------------------------------------

/// The host's graph as the runtime hands it to the plug-in.
fn segment(graph: Graph, weights: Option<&File>) -> Reply<Segment> {
    let mut at = 0;
    let mut bytes = |size| match weights {
        Some(file) => read(file, &mut at, size),
        None => Ok(Vec::new()),
    };
    let mut tensors = Vec::new();
    for tensor in graph.tensors {
        let role = match tensor.role {
            ffi::INTERMEDIATE => segment::Role::Intermediate,
            ffi::INPUT => segment::Role::Input,
            ffi::OUTPUT => segment::Role::Output,
            ffi::WEIGHT => {
                let form = tensor.form.map(|form| {
                    let unknown = || Reported::new(Code::Unsupported, "an unknown form of weights");
                    Quant::from_raw(&raw_form(&form)).ok_or_else(unknown)
                });
                let stored = Quantized {
                    data: bytes(tensor.data)?,
                    scales: bytes(tensor.scales)?,
                };
                segment::Role::Weight(form.transpose()?, stored)
            }
            other => {
                return Err(Reported::new(
                    Code::Invalid,
                    format!("a tensor's role is {other}"),
                ));
            }
        };
        tensors.push(segment::Tensor {
            role,
            rows: tensor.rows as usize,
            cols: tensor.cols as usize,
        });
    }
    let mut nodes = Vec::new();
    for node in graph.nodes {
        let raw = ffi::Node {
            hdr: ffi::Hdr::of::<ffi::Node>(),
            op: node.op,
            n_in: 0,
            inputs: [0; 4],
            out: node.out,
            eps: node.eps,
            group: node.group,
            factor: node.factor,
        };
        let unknown = || Reported::new(Code::Unsupported, format!("op {} is unknown", node.op));
        nodes.push(segment::Node {
            op: segment::Op::read(&raw).ok_or_else(unknown)?,
            inputs: node.inputs.iter().map(|&input| input as usize).collect(),
            out: node.out as usize,
        });
    }
    Ok(Segment {
        name: graph.name,
        rows: graph.rows as usize,
        tensors,
        nodes,
    })
}

/// Reads so many bytes of a file from `at` on.
fn read(file: &File, at: &mut u64, bytes: u64) -> Reply<Vec<u8>> {
    let mut read = Vec::new();
    let len = usize::try_from(bytes).unwrap_or(usize::MAX);
    if read.try_reserve_exact(len).is_err() {
        return Err(Reported::new(
            Code::NoMemory,
            format!("{bytes} bytes of weights or programs"),
        ));
    }
    read.resize(len, 0);
    file.read_exact_at(&mut read, *at).map_err(system)?;
    *at += bytes;
    Ok(read)
}

// ---- sessions -----------------------------------------------------------------------

/// A session with its memory. The order of the fields is the order in which they are
/// dropped: after the session nothing uses the job and the buffers.
struct Session {
    session: DeviceSession,
    job: Option<Job>,
    /// The buffer of each zone, and the first float of its value.
    buffers: Vec<(Buffer, usize)>,
    _memory: Guarded,
    /// The places of each program's values.
    slots: Vec<Vec<Slot>>,
}

impl Session {
    fn new(
        device: &Device,
        programs: &[SessionProgram],
        zones: &[Zone],
        file: Option<&File>,
    ) -> Reply<Session> {
        let delegate = device.delegate()?;
        let file = file.ok_or_else(|| Reported::new(Code::Invalid, "no memory for values"))?;
        let memory = Guarded::map(file, zones).map_err(system)?;
        let import = |(&start, zone): (&*mut u8, &Zone)| -> Result<_, DelegateError> {
            // SAFETY: the zone is mapped as long as the session lives. The host uses it
            // only between jobs.
            let buffer = unsafe { Buffer::import(&delegate, start, zone.len) }?;
            Ok((buffer, zone.value / size_of::<f32>()))
        };
        let buffers = memory
            .zones()
            .zip(zones)
            .map(import)
            .collect::<Result<_, _>>()?;
        let handles = programs.iter().map(|program| device.program(program.id));
        Ok(Session {
            session: DeviceSession::new(handles.collect::<Reply<_>>()?)?,
            job: None,
            buffers,
            _memory: memory,
            slots: programs
                .iter()
                .map(|program| program.slots.clone())
                .collect(),
        })
    }

    fn submit(&mut self, program: usize, deadline: Duration) -> Reply<()> {
        let no_program = || Reported::new(Code::Invalid, format!("there is no program {program}"));
        let slots = self.slots.get(program).ok_or_else(no_program)?.iter();
        let buffers = &self.buffers;
        let places = slots.map(|slot| Place {
            tensor: slot.tensor as usize,
            buffer: &buffers[slot.zone].0,
            offset: buffers[slot.zone].1,
        });
        // SAFETY: the buffers are kept until after the session.
        self.job = Some(unsafe { self.session.submit(program, places, deadline) }?);
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> Waited {
        let Some(job) = &mut self.job else {
            return Waited {
                ended: true,
                outcome: Err(Reported::new(Code::Invalid, "there is no job")),
            };
        };
        let (ended, outcome) = match job.wait(timeout) {
            Outcome::Running => (false, Ok(Default::default())),
            Outcome::Stuck(error) => (false, Err(error.into())),
            Outcome::Done(metrics) => (true, Ok(metrics.into())),
            Outcome::Failed(error) => (true, Err(error.into())),
        };
        if ended {
            self.job = None;
        }
        Waited { ended, outcome }
    }

    fn cancel(&mut self) -> Reply<()> {
        match &mut self.job {
            Some(job) => Ok(job.cancel()?),
            None => Ok(()),
        }
    }
}

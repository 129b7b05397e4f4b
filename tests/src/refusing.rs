//! The sample plug-in, except that its device refuses the operations that a test chooses.

use crate::softnpu;
use ondol::delegate::{Delegate, ffi};
use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;

/// An operation that the host offers.
#[derive(Debug, Clone, Copy)]
pub struct Offered {
    /// Its number in `ondol_npu.h`.
    pub op: u32,
    /// Its index among the segment's matmuls with the same input, from 0.
    pub sibling: usize,
    /// The number of these matmuls.
    pub siblings: usize,
}

/// Whether an operation is refused.
pub type Refuses = fn(Offered) -> bool;

thread_local! {
    static REFUSES: Cell<Refuses> = const { Cell::new(|_| false) };
}

/// A device that refuses the operations for which `refuses` returns true, of all that are
/// offered on this thread.
///
/// # Panics
/// As for [`softnpu::open`].
pub fn open(refuses: Refuses) -> Delegate {
    REFUSES.set(refuses);
    // SAFETY: the sample keeps the contract, and so does the changed claim.
    unsafe { Delegate::open(get_api) }.expect("the sample opens")
}

/// The sample's table of functions, and the same table with another `claim`.
struct Tables {
    sample: ffi::Api,
    changed: ffi::Api,
}

// SAFETY: the tables point to functions and data that are never freed or written.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        // SAFETY: the sample keeps the contract: this is the type of its symbol, and
        // its table lives as long as the library, which is never unloaded.
        let sample = unsafe {
            let library = libloading::Library::new(softnpu::plugin()).expect("the sample");
            let get_api = *library.get::<ffi::GetApi>(ffi::GET_API).expect("its table");
            std::mem::forget(library);
            let mut table = ptr::null();
            let (major, minor) = (ffi::ABI_MAJOR.into(), ffi::ABI_MINOR.into());
            assert_eq!(get_api(major, minor, &mut table), ffi::OK);
            ptr::read(table)
        };
        let changed = ffi::Api {
            claim: Some(claim),
            // Once lost, the device stays lost.
            reset: None,
            ..sample
        };
        Tables { sample, changed }
    })
}

unsafe extern "C" fn get_api(_: u32, _: u32, out: *mut *const ffi::Api) -> ffi::Status {
    // SAFETY: the host's pointer.
    unsafe { *out = &raw const tables().changed };
    ffi::OK
}

unsafe extern "C" fn claim(
    device: *mut ffi::Opaque,
    graph: *const ffi::Graph,
    claims: *const *mut ffi::Claim,
    error: *mut ffi::Error,
) -> ffi::Status {
    let sample = tables().sample.claim.expect("the sample claims");
    // SAFETY: passed on; then the graph and the claims that the host gave.
    unsafe {
        let status = sample(device, graph, claims, error);
        for (node, offered) in offered(&*graph).into_iter().enumerate() {
            if REFUSES.get()(offered) {
                (**claims.add(node)).claimed = 0;
            }
        }
        status
    }
}

/// The operations of a graph.
///
/// # Safety
/// The graph is the host's.
unsafe fn offered(graph: &ffi::Graph) -> Vec<Offered> {
    // SAFETY: it has so many nodes.
    let nodes = (0..graph.n_nodes as usize).map(|i| unsafe { &**graph.nodes.add(i) });
    let nodes: Vec<&ffi::Node> = nodes.collect();
    let are_siblings = |a: &ffi::Node, b: &ffi::Node| {
        a.op == ffi::MATMUL && b.op == ffi::MATMUL && a.inputs[0] == b.inputs[0]
    };
    let offered = |(at, node): (usize, &&ffi::Node)| {
        let siblings =
            |nodes: &[&ffi::Node]| nodes.iter().filter(|n| are_siblings(n, node)).count();
        Offered {
            op: node.op,
            sibling: siblings(&nodes[..at]),
            siblings: siblings(&nodes),
        }
    };
    nodes.iter().enumerate().map(offered).collect()
}

//! Programs: compiled from a graph, or saved and loaded again.

use crate::container::{self, Contents};
use crate::device::Opened;
use crate::failure::{Result, invalid, unsupported};
use crate::graph::{Graph, Interface, Verdict};
use crate::{Device, Program};
use std::sync::Arc;

/// A program with its device.
pub struct Compiled<D: Device> {
    /// The device for which it was compiled.
    pub opened: Arc<Opened<D>>,
    /// The values that jobs bind.
    pub interface: Interface,
    /// The vendor's program.
    pub program: D::Program,
}

/// Says for each node whether the device takes it; the error is the reason why not.
///
/// # Errors
/// INVALID if the graph's number of rows is not in the device's list.
pub fn claim<D: Device>(opened: &Opened<D>, graph: &Graph) -> Result<Vec<Verdict>> {
    let described = &opened.description;
    if !described.rows.contains(&graph.rows) {
        return Err(invalid(format!(
            "{} rows are not in the device's list; graph \"{}\"",
            graph.rows, graph.name
        )));
    }
    let nodes = graph.nodes.iter();
    Ok(nodes
        .map(|node| {
            graph.supports(node, &described.forms)?;
            opened.device.claim(graph, node)
        })
        .collect())
}

impl<D: Device> Compiled<D> {
    /// Compiles a graph.
    ///
    /// # Errors
    /// UNSUPPORTED if the device does not take a node; INVALID if a weight has no data;
    /// the device's errors.
    pub fn compile(opened: &Arc<Opened<D>>, graph: &Graph) -> Result<Compiled<D>> {
        for (id, claimed) in claim(opened, graph)?.into_iter().enumerate() {
            claimed.map_err(|reason| unsupported(format!("node {id}: {reason}")))?;
        }
        graph.check_data()?;
        let program = opened.device.compile(graph)?;
        Ok(Compiled::new(opened, graph.interface(), program))
    }

    /// Loads the bytes that [`Compiled::save`] wrote.
    ///
    /// # Errors
    /// CORRUPT or INCOMPATIBLE.
    pub fn load(opened: &Arc<Opened<D>>, blob: &[u8]) -> Result<Compiled<D>> {
        let contents = container::read(blob, &opened.identity)?;
        let program = opened.device.load(contents.program)?;
        Ok(Compiled::new(opened, contents.interface, program))
    }

    fn new(opened: &Arc<Opened<D>>, interface: Interface, program: D::Program) -> Compiled<D> {
        Compiled {
            opened: opened.clone(),
            interface,
            program,
        }
    }

    /// The program as bytes for [`Compiled::load`].
    ///
    /// # Errors
    /// If the device can't save it.
    pub fn save(&self) -> Result<Vec<u8>> {
        Ok(container::write(&Contents {
            identity: self.opened.identity.clone(),
            interface: self.interface.clone(),
            program: &self.program.save()?,
        }))
    }
}

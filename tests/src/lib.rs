//! Oracles and small models shared by the whole-path tests.

pub mod counting;
pub mod holding;
pub mod hostile;
pub mod oracle;
pub mod packing;
pub mod random;
pub mod random_model;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod softnpu;

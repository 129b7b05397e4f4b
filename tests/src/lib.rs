//! Oracles and small models shared by the whole-path tests.

pub mod counting;
pub mod holding;
pub mod hostile;
pub mod oracle;
pub mod packing;
pub mod random;
pub mod random_model;

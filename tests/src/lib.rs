//! Oracles and small models shared by the whole-path tests.

pub mod hostile;
pub mod oracle;
pub mod random_model;

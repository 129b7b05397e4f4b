//! Oracles and small models shared by the whole-path tests.

pub mod hostile;

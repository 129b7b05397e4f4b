//! Architectures: metadata in, graph out. One file each.

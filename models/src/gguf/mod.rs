//! The GGUF container: a zero-copy reader over bytes, and a writer.

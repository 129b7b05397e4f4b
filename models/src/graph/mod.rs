//! The graph IR: values, operations, and the builder that checks shapes.

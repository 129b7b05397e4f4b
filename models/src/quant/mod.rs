//! Block formats of weights: one table of layouts, and for each format a
//! reference dequantize and quantize. The kernels that compute on blocks live
//! in the runtime; these functions are their oracle.

mod dtype;

pub use dtype::DType;

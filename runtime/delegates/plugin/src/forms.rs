//! Forms of matrices that many devices take.

use ondol::delegate::{Group, Quant, Store};

/// 4-bit integers, a half-float scale for 32.
pub const I4_BY_32: Quant = integers(Store::I4, Group::Of(32), false);
/// 4-bit integers, a half-float scale for 128.
pub const I4_BY_128: Quant = integers(Store::I4, Group::Of(128), false);
/// 4-bit integers, a half-float scale for each row.
pub const I4_BY_ROW: Quant = integers(Store::I4, Group::Row, false);
/// 8-bit integers, a 32-bit scale for each row.
pub const I8_BY_ROW: Quant = integers(Store::I8, Group::Row, true);

const fn integers(store: Store, group: Group, wide_scales: bool) -> Quant {
    Quant {
        store,
        group,
        wide_scales,
    }
}

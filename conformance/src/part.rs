//! The reference part: what a device is compared with. It computes on the host, through
//! the same contract, the same spans with the weights in the same forms.

use crate::Result;
use ondol::delegate::{Delegate, Offload};
use ondol_delegate_reference::{EXACT, Setting};

/// A model's spans on the reference part.
pub struct Parts {
    /// With exact sums.
    pub exact: Offload,
    /// In the arithmetic that the device declares.
    pub declared: Offload,
}

impl Parts {
    /// The spans of a device's offload.
    pub fn of(offload: &Offload) -> Result<Parts> {
        let info = offload.delegate().info();
        let on = |arithmetic| -> Result<Offload> {
            let delegate: Delegate = ondol_delegate_reference::open(Setting {
                arithmetic,
                weights: info.quants.clone(),
                rows: info.rows.clone(),
            })?;
            Ok(offload.on(&delegate)?)
        };
        Ok(Parts {
            exact: on(EXACT)?,
            declared: on(info.arithmetic)?,
        })
    }
}

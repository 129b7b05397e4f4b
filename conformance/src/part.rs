//! The reference part: a delegate on the host, with which a device is compared. It gets the same
//! spans, with the weights in the same forms, through the same contract.

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
    /// Compiles the spans of a device's offload for the reference part.
    ///
    /// # Errors
    /// Those of the runtime, if the reference part can't take what the device takes.
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

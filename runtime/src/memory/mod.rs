//! Memory that is laid out before it is allocated: regions, the blocks in which they
//! lie, and the return of unused pages to the system.

mod arena;
mod layout;
mod logits;
mod pages;

pub use arena::{Arena, LENT};
pub use layout::{ArenaLayout, Buffer, Memory, Region, round_up};
pub use logits::Logits;
#[cfg(feature = "std")]
pub use pages::unload;

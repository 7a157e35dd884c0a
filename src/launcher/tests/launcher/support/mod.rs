//! What the tests share.

mod callers;
mod host;
mod plans;
mod running;

pub use callers::*;
pub use host::*;
pub use plans::*;
pub use running::*;

//! Jobs on this machine's toolchains, with all walls and on kernels that lack some, for real.

mod confined;
mod leftovers;
mod refusals;
mod services;
mod support;

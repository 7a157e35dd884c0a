//! The launcher as a whole, on this machine's kernel and programs: as whoever runs the tests, and when that is root,
//! as an ordinary user too.

mod ahead;
mod descriptors;
mod direct;
mod ending;
mod failing;
mod files;
mod gateway;
mod killing;
mod limits;
mod services;
mod serving;
mod support;
mod walls;

//! The launcher as a whole, on this machine's kernel and programs: as the user who runs the tests, and if that is root,
//! as an ordinary user too.

#![allow(unsafe_code)]

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

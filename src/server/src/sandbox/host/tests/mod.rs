//! Tests with simulated homes of version managers, and with this machine's own toolchains.

mod managers;
mod prefixes;
mod running;
mod search;
mod support;
mod systems;

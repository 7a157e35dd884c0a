//! Homes laid out as version managers lay them out, and this machine's own toolchains run for real.

mod managers;
mod prefixes;
mod running;
mod search;
mod support;
mod systems;

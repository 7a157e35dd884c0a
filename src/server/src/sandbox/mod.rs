//! What a program runs in: what it sees, which walls stand around it, and the launcher that puts them up.

pub mod backend;
pub mod confine;
pub mod host;
pub mod launch;
pub mod plan;
pub mod view;
pub mod view_cache;
pub mod walls;

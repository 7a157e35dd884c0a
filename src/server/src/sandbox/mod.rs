//! The sandbox of a program: the files it sees, the walls (layers of isolation) around it, and the launcher that sets
//! them up.

pub mod backend;
pub mod confine;
pub mod host;
pub mod launch;
pub mod plan;
pub mod view;
pub mod view_cache;
pub mod walls;

//! The sandbox of a program: the files it sees, the walls (layers of isolation) around it, and the launcher that sets
//! them up.

pub(crate) mod backend;
pub(crate) mod confine;
pub(crate) mod host;
pub(crate) mod host_network;
pub mod launch;
pub(crate) mod ping;
pub mod plan;
pub mod view;
pub(crate) mod view_cache;
pub(crate) mod walls;

//! MCP: from lines on standard input to calls, and from outcomes to results.

pub mod answer;
pub(crate) mod call_log;
mod clients;
pub(crate) mod description;
mod dispatch;
pub(crate) mod framing;
mod in_flight;
pub(crate) mod instructions;
pub(crate) mod json_id;
mod progress;
pub(crate) mod reading;
pub(crate) mod server;
pub(crate) mod stdio;
pub(crate) mod surrogates;
pub(crate) mod transport;

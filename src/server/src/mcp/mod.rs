//! MCP: from lines on standard input to calls, and from outcomes to results.

pub mod answer;
pub mod description;
pub mod framing;
pub mod instructions;
pub mod json_id;
pub mod server;
pub mod stdio;
pub mod surrogates;
pub mod transport;

//! An MCP server that lets an AI agent run code in pinned Nix environments, isolated by Linux namespaces.

pub mod capture;
pub mod executor;
pub mod file;
pub mod host;
pub mod job;
pub mod launch;
pub mod outcome;
pub mod plan;
pub mod realise;
pub mod sandbox;
pub mod store_path;
#[cfg(test)]
mod testing;
pub mod tool;
pub mod view;

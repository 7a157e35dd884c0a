//! An MCP server that lets an AI agent run code in pinned Nix environments, isolated by Linux namespaces.

pub mod answer;
pub mod artifacts;
pub mod build_all;
pub mod capture;
pub mod command_line;
pub mod executor;
pub mod file;
pub mod host;
pub mod intake;
pub mod job;
pub mod json_id;
pub mod launch;
pub mod outcome;
pub mod plan;
pub mod realise;
pub mod run_once;
pub mod runner;
pub mod sandbox;
pub mod server;
pub mod stage;
pub mod stdio;
pub mod store_path;
pub mod tool;
pub mod view;

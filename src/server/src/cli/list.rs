//! The command `list`: the tools that can be called here, where each is defined, and why others cannot.

use std::fmt::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::call::catalog::catalog;
use crate::call::definition::Network;
use crate::call::tool::{Tool, ToolSource};
use crate::cli::output::{cut, print, print_json, width, wrap};
use crate::cli::server_info::ServerInfo;
use crate::mcp::description::description;
use crate::runner::Runner;
use crate::runner::error::RunError;
use crate::sandbox::backend::Backend;

/// What `list --json` prints.
#[derive(Debug, Serialize)]
struct ToolList {
    server: ServerInfo,
    /// Every tool of the server, by name.
    tools: Vec<ListedTool>,
}

/// A tool, as this machine has it.
#[derive(Debug, Serialize)]
struct ListedTool {
    name: &'static str,
    title: &'static str,
    /// `built in`, or the path of the JSON config that defines it.
    source: String,
    /// Whether it can be called here. Clients are shown only the tools that can.
    available: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What clients are told of it, if it can be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// `pinned` or `host`, if it can be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_on: Option<&'static str>,
    /// Store path of the pinned environment, if the server has one for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'static str>,
    network: ListedNetwork,
    limits: ListedLimits,
    #[serde(skip)]
    tool: &'static Tool,
}

/// Which network programs have: `none`, `bridge`, which is the host's, or a list of hosts and ports.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ListedNetwork {
    Word(&'static str),
    Allowed(Vec<String>),
}

/// The limits of one call.
#[derive(Debug, Serialize)]
struct ListedLimits {
    timeout_seconds: u64,
    memory_mb: u64,
    disk_mb: u64,
    cpu_cores: u32,
    processes: u64,
    open_files: u64,
}

/// Prints the list. The status is 0 even if there is no tool in it: `doctor` judges.
pub async fn run(runner: &Runner, is_json: bool) -> ExitCode {
    runner.settle().await;
    let mut tools = Vec::new();
    for tool in catalog().tools {
        tools.push(listed(tool, runner.backend(&tool.sandbox).await));
    }
    match is_json {
        true => print_json(&ToolList { server: ServerInfo::of(catalog()), tools }),
        false => print(&text(&tools, width())),
    }
    ExitCode::SUCCESS
}

fn listed(tool: &'static Tool, backend: Result<Backend, RunError>) -> ListedTool {
    let sandbox = &tool.sandbox;
    let resources = sandbox.resources;
    let (backend, reason) = match backend {
        Ok(backend) => (Some(backend), None),
        Err(error) => (None, Some(error.to_string())),
    };
    ListedTool {
        name: sandbox.id,
        title: sandbox.name,
        source: tool.source.to_string(),
        available: backend.is_some(),
        reason,
        description: backend.as_ref().map(|backend| description(sandbox, backend)),
        runs_on: backend.map(|backend| if backend.is_pinned() { "pinned" } else { "host" }),
        environment: sandbox.environment.as_ref().map(|environment| environment.out),
        network: match sandbox.network {
            Network::None => ListedNetwork::Word("none"),
            Network::Bridge => ListedNetwork::Word("bridge"),
            Network::Allow(entries) => ListedNetwork::Allowed(entries.iter().map(ToString::to_string).collect()),
        },
        limits: ListedLimits {
            timeout_seconds: sandbox.timeout.as_secs(),
            memory_mb: resources.memory_mb,
            disk_mb: resources.disk_mb,
            cpu_cores: resources.cpu,
            processes: resources.processes,
            open_files: resources.files,
        },
        tool,
    }
}

/// Returns one line for each tool that can be called, and below why others cannot, and which tools are the user's own.
fn text(tools: &[ListedTool], width: Option<usize>) -> String {
    let name_width = tools.iter().map(|tool| tool.name.len()).max().unwrap_or_default().max("TOOL".len());
    let network = |tool: &ListedTool| match &tool.network {
        ListedNetwork::Word(word) => (*word).to_owned(),
        ListedNetwork::Allowed(entries) => format!("{} allowed", entries.len()),
    };
    let row = |name: &str, runs_on: &str, network: &str, time: &str, memory: &str, text: &str| {
        let row = format!("{name:name_width$}  {runs_on:7}  {network:9}  {time:>6}  {memory:>7}  {text}");
        cut(&row, width) + "\n"
    };
    let mut text = row("TOOL", "RUNS ON", "NETWORK", "TIME", "MEMORY", "DESCRIPTION");
    for tool in tools {
        let Some(runs_on) = tool.runs_on else { continue };
        let time = format!("{} s", tool.limits.timeout_seconds);
        let memory = format!("{} MB", tool.limits.memory_mb);
        text += &row(tool.name, runs_on, &network(tool), &time, &memory, first_sentence(tool.tool.sandbox.description));
    }
    let missing = tools.iter().filter_map(|tool| Some((tool.name, tool.reason.as_ref()?)));
    for (index, (name, reason)) in missing.enumerate() {
        if index == 0 {
            text += "\nCannot run here, and not listed to clients:\n";
        }
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:name_width$}  {}", wrap(reason, name_width + 2, width));
    }
    let own = tools.iter().filter(|tool| tool.tool.source != ToolSource::BuiltIn);
    for (index, tool) in own.enumerate() {
        if index == 0 {
            text += "\nDefined by JSON configs, while all others are built in:\n";
        }
        let _ = writeln!(text, "{:name_width$}  {}", tool.name, tool.source);
    }
    text
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_ends_where_a_space_follows() {
        assert_eq!(first_sentence("Run node.js 20.1 at 127.0.0.1. It is fast."), "Run node.js 20.1 at 127.0.0.1.");
        assert_eq!(first_sentence("Run Python code"), "Run Python code");
    }
}

//! The command `list`: the tools that can be called here, and why others cannot.

use std::process::ExitCode;

use crate::call::catalog::catalog;
use crate::mcp::description::description;
use crate::runner::Runner;

/// Prints the list. The status is 0 even if there is no tool in it: `doctor` judges.
pub async fn run(runner: &Runner) -> ExitCode {
    let widest = catalog().tools.iter().map(|tool| tool.sandbox.id.len()).max().unwrap_or_default();
    let mut missing = Vec::new();
    runner.settle().await;
    for sandbox in catalog().tools.iter().map(|tool| &tool.sandbox) {
        match runner.backend(sandbox).await {
            Ok(backend) => {
                println!("{:widest$}  {}", sandbox.id, description(sandbox, &backend, runner.longest(sandbox)));
            }
            Err(reason) => missing.push((sandbox.id, reason)),
        }
    }
    if !missing.is_empty() {
        println!("\nCannot run here, and not listed to clients:");
        missing.iter().for_each(|(id, reason)| println!("{id:widest$}  {reason}"));
    }
    ExitCode::SUCCESS
}

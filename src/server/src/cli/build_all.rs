//! The command `--build`: realises every environment ahead of its first use.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::call::catalog::catalog;
use crate::call::stage::Stage;
use crate::runner::Runner;

/// Realises all, and goes on with the others when one fails.
pub async fn run(runner: Runner) -> ExitCode {
    let bars = MultiProgress::new();
    let style = ProgressStyle::with_template("{spinner} {prefix:14} {wide_msg}").expect("the template is valid");
    let mut failures = Vec::new();
    // One after another: Nix works on what one environment needs with all cores already, and its lines stay apart.
    for tool in catalog().tools {
        let bar = bars.add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix(tool.sandbox.id));
        bar.enable_steady_tick(Duration::from_millis(100));
        let on_stage = |stage: Stage| {
            if let Some(line) = stage.of_realising() {
                bar.set_message(line);
            }
        };
        match runner.prepare(&tool.sandbox, &on_stage).await {
            Ok(view) => bar.finish_with_message(view.origin.to_string()),
            Err(error) => {
                bar.finish_with_message("failed");
                failures.push(format!("{}: {error}", tool.sandbox.id));
            }
        }
    }
    for failure in &failures {
        eprintln!("sandbox-mcp: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

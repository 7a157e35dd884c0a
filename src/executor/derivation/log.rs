//! What is heard while Nix carries a run out.

use std::time::Duration;

use sandbox_launcher::record::Cost;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::nix::protocol::{Event, Work};
use crate::stage::{OnStage, Stage};

/// Begins the builder's own lines of the log.
const OWN_LINE: &str = "sandbox-mcp: ";
/// Begin Nix's own lines where it is heard as text.
const WAITING: &str = "waiting for ";
const BUILDING: &str = "building ";

/// What Nix and the builder have to say.
pub struct Log<'a> {
    on_stage: OnStage<'a>,
    pub cost: Option<Cost>,
    /// Why the builder refused.
    pub reason: Option<String>,
    /// What Nix waits for, in its words, before it can build.
    waiting: watch::Sender<Option<String>>,
}

impl<'a> Log<'a> {
    pub fn new(on_stage: OnStage<'a>) -> Self {
        Self { on_stage, cost: None, reason: None, waiting: watch::Sender::new(None) }
    }

    /// Comes back with what Nix waits for when it has waited for so long at a stretch.
    pub fn waits_for(&self, limit: Duration) -> impl Future<Output = String> + use<> {
        let mut waiting = self.waiting.subscribe();
        async move {
            loop {
                let Ok(reason) = waiting.wait_for(Option::is_some).await.map(|reason| reason.clone()) else {
                    return std::future::pending().await;
                };
                if timeout(limit, waiting.wait_for(Option::is_none)).await.is_err() {
                    return reason.unwrap_or_default();
                }
            }
        }
    }

    pub fn hear(&mut self, event: Event) {
        match event {
            Event::Log(line) => self.own_line(&line),
            Event::Started { work, text } => self.started(work, text),
            Event::Message(_) => {}
        }
    }

    /// Takes a line of a command, which may be the builder's or Nix's.
    pub fn line(&mut self, line: &str) {
        if line.starts_with(WAITING) {
            self.started(Work::Wait, line.to_owned());
        } else if line.starts_with(BUILDING) {
            self.started(Work::Build, line.to_owned());
        } else {
            self.own_line(line);
        }
    }

    fn started(&mut self, work: Work, text: String) {
        match work {
            Work::Wait => drop(self.waiting.send_replace(Some(text.clone()))),
            Work::Build => drop(self.waiting.send_replace(None)),
            Work::Other => {}
        }
        (self.on_stage)(Stage::Nix(text));
    }

    fn own_line(&mut self, line: &str) {
        match (line.parse(), line.strip_prefix(OWN_LINE)) {
            (Ok(cost), _) => self.cost = Some(cost),
            (Err(_), Some(reason)) => self.reason = Some(reason.to_owned()),
            _ => {}
        }
    }
}

//! The messages of Nix and of the builder during a run.

use std::collections::VecDeque;
use std::iter;
use std::time::Duration;

use sandbox_plan::record::{LOG_PREFIX, RunCost};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::call::stage::{OnStage, Stage};
use crate::nix::realise_log::is_retry;
use nix_store::protocol::{ActivityKind, Event};

/// Begins a line of the command nix-store that waits for a lock or a builder.
const WAITING_PREFIX: &str = "waiting for ";
/// Begins a line of the command nix-store that starts a build.
const BUILDING_PREFIX: &str = "building ";
/// Occurs in the URL of a remote builder.
const REMOTE_BUILDER_MARK: &str = "://";

/// The number of lines that an error shows.
const ERROR_LINES: usize = 5;

/// Listens to Nix and the builder.
pub struct Log<'a> {
    on_stage: OnStage<'a>,
    pub cost: Option<RunCost>,
    /// Why the builder refused.
    pub refusal: Option<String>,
    /// The last message of Nix about a remote builder.
    remote_builder: Option<String>,
    /// The last messages that are not the builder's own lines.
    last: VecDeque<String>,
    /// What Nix waits for before it can build, in its words; `None` if it does not wait.
    waiting: watch::Sender<Option<String>>,
    /// Changes with every message.
    heard: watch::Sender<()>,
}

impl<'a> Log<'a> {
    pub fn new(on_stage: OnStage<'a>) -> Self {
        Self {
            on_stage,
            cost: None,
            refusal: None,
            remote_builder: None,
            last: VecDeque::new(),
            waiting: watch::Sender::new(None),
            heard: watch::Sender::new(()),
        }
    }

    /// Resolves once Nix has waited continuously for `limit`, with what it was waiting for.
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

    /// Resolves once nothing was heard for `limit`.
    pub fn is_silent_for(&self, limit: Duration) -> impl Future<Output = ()> + use<> {
        let mut heard = self.heard.subscribe();
        async move {
            while let Ok(changed) = timeout(limit, heard.changed()).await {
                if changed.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }

    pub fn hear(&mut self, event: Event) {
        self.heard.send_replace(());
        match event {
            Event::Log(line) if !self.is_own(&line) => self.keep(line),
            Event::Started { work, text } => self.started(work, text),
            // Among them are messages about remote builders.
            Event::Message(line) => self.keep(line),
            Event::Log(_) => {}
        }
    }

    /// Returns why there was no build: Nix's own reason, and the last messages.
    pub fn reason(&self, own: &str) -> String {
        let heard = self.remote_builder.iter().chain(&self.last).map(|line| format!("; {line}"));
        iter::once(own.to_owned()).chain(heard).collect()
    }

    /// Takes a line of the command nix-store, which may be the builder's or Nix's.
    pub fn line(&mut self, line: &str) {
        self.heard.send_replace(());
        if line.starts_with(WAITING_PREFIX) {
            self.started(ActivityKind::Wait, line.to_owned());
        } else if line.starts_with(BUILDING_PREFIX) {
            self.started(ActivityKind::Build, line.to_owned());
        } else {
            // The caller keeps the command's last lines.
            self.is_own(line);
        }
    }

    fn started(&mut self, work: ActivityKind, text: String) {
        match work {
            ActivityKind::Wait => drop(self.waiting.send_replace(Some(text.clone()))),
            ActivityKind::Build => drop(self.waiting.send_replace(None)),
            ActivityKind::Other => {}
        }
        if text.contains(REMOTE_BUILDER_MARK) {
            self.remote_builder = Some(text.clone());
        }
        (self.on_stage)(Stage::Nix(text));
    }

    /// Takes a line if it is the builder's own, and tells whether it was.
    fn is_own(&mut self, line: &str) -> bool {
        match (line.parse(), line.strip_prefix(LOG_PREFIX)) {
            (Ok(cost), _) => self.cost = Some(cost),
            (Err(_), Some(reason)) => self.refusal = Some(reason.to_owned()),
            _ => return false,
        }
        true
    }

    fn keep(&mut self, line: String) {
        if is_retry(&line) {
            return;
        }
        if self.last.len() == ERROR_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(90);

    fn started(text: &str, work: ActivityKind) -> Event {
        Event::Started { work, text: text.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_last_message() {
        let begun = Instant::now();
        let mut log = Log::new(&|_| {});
        let silent = log.is_silent_for(LIMIT);
        let talk = async {
            for _ in 0..3 {
                sleep(Duration::from_secs(60)).await;
                log.hear(started("building", ActivityKind::Build));
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = silent => {}
            () = talk => {}
        }
        assert_eq!(begun.elapsed().as_secs(), 3 * 60 + 90);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_counts_until_a_build_starts() {
        let begun = Instant::now();
        let mut log = Log::new(&|_| {});
        let waits = log.waits_for(LIMIT);
        let talk = async {
            log.hear(started("waiting for a lock", ActivityKind::Wait));
            sleep(Duration::from_secs(60)).await;
            log.hear(started("building", ActivityKind::Build));
            sleep(Duration::from_secs(1000)).await;
            log.hear(started("waiting for a machine", ActivityKind::Wait));
            std::future::pending::<String>().await
        };
        let reason = tokio::select! {
            reason = waits => reason,
            reason = talk => reason,
        };
        assert_eq!((begun.elapsed().as_secs(), reason.as_str()), (60 + 1000 + 90, "waiting for a machine"));
    }
}

//! What is heard while Nix carries a run out.

use std::collections::VecDeque;
use std::iter;
use std::time::Duration;

use sandbox_plan::record::{LOG_PREFIX, RunCost};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::call::stage::{OnStage, Stage};
use nix_store::protocol::{Event, Work};

/// Begin Nix's own lines where it is heard as text.
const WAITING: &str = "waiting for ";
const BUILDING: &str = "building ";
/// Is part of the name of a remote builder.
const ELSEWHERE: &str = "://";

/// How many lines an error shows.
const LAST_LINES: usize = 5;

/// What Nix and the builder have to say.
pub struct Log<'a> {
    on_stage: OnStage<'a>,
    pub cost: Option<RunCost>,
    /// Why the builder refused.
    pub refusal: Option<String>,
    /// What Nix said last of a remote builder, and what was heard last that is none of the builder's own lines.
    elsewhere: Option<String>,
    last: VecDeque<String>,
    /// What Nix waits for, in its words, before it can build.
    waiting: watch::Sender<Option<String>>,
    /// Changes with whatever is heard.
    heard: watch::Sender<()>,
}

impl<'a> Log<'a> {
    pub fn new(on_stage: OnStage<'a>) -> Self {
        Self {
            on_stage,
            cost: None,
            refusal: None,
            elsewhere: None,
            last: VecDeque::new(),
            waiting: watch::Sender::new(None),
            heard: watch::Sender::new(()),
        }
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

    /// Comes back when nothing was heard for so long.
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
            // What it says of remote builders, for one.
            Event::Message(line) => self.keep(line),
            Event::Log(_) => {}
        }
    }

    /// Why there was no build, with what was heard of it besides Nix's own reason.
    pub fn reason(&self, own: &str) -> String {
        let heard = self.elsewhere.iter().chain(&self.last).map(|line| format!("; {line}"));
        iter::once(own.to_owned()).chain(heard).collect()
    }

    /// Takes a line of a command, which may be the builder's or Nix's.
    pub fn line(&mut self, line: &str) {
        self.heard.send_replace(());
        if line.starts_with(WAITING) {
            self.started(Work::Wait, line.to_owned());
        } else if line.starts_with(BUILDING) {
            self.started(Work::Build, line.to_owned());
        } else {
            // A command's last lines are known to whoever runs it.
            self.is_own(line);
        }
    }

    fn started(&mut self, work: Work, text: String) {
        match work {
            Work::Wait => drop(self.waiting.send_replace(Some(text.clone()))),
            Work::Build => drop(self.waiting.send_replace(None)),
            Work::Other => {}
        }
        if text.contains(ELSEWHERE) {
            self.elsewhere = Some(text.clone());
        }
        (self.on_stage)(Stage::Nix(text));
    }

    /// Takes a line if it is the builder's own.
    fn is_own(&mut self, line: &str) -> bool {
        match (line.parse(), line.strip_prefix(LOG_PREFIX)) {
            (Ok(cost), _) => self.cost = Some(cost),
            (Err(_), Some(reason)) => self.refusal = Some(reason.to_owned()),
            _ => return false,
        }
        true
    }

    fn keep(&mut self, line: String) {
        if self.last.len() == LAST_LINES {
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

    fn started(text: &str, work: Work) -> Event {
        Event::Started { work, text: text.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_what_was_heard_last() {
        let begun = Instant::now();
        let mut log = Log::new(&|_| {});
        let silent = log.is_silent_for(LIMIT);
        let talk = async {
            for _ in 0..3 {
                sleep(Duration::from_secs(60)).await;
                log.hear(started("building", Work::Build));
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
    async fn waiting_counts_until_something_is_built() {
        let begun = Instant::now();
        let mut log = Log::new(&|_| {});
        let waits = log.waits_for(LIMIT);
        let talk = async {
            log.hear(started("waiting for a lock", Work::Wait));
            sleep(Duration::from_secs(60)).await;
            log.hear(started("building", Work::Build));
            sleep(Duration::from_secs(1000)).await;
            log.hear(started("waiting for a machine", Work::Wait));
            std::future::pending::<String>().await
        };
        let reason = tokio::select! {
            reason = waits => reason,
            reason = talk => reason,
        };
        assert_eq!((begun.elapsed().as_secs(), reason.as_str()), (60 + 1000 + 90, "waiting for a machine"));
    }
}

//! Slows down what a program makes the server do, which no limit of the sandbox counts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets a number of turns through at once, and then one each `interval`.
pub struct Pace {
    interval: Duration,
    /// How far turns may run ahead of the pace.
    ahead: Duration,
    /// When the turns that were taken would be over, had each waited for the one before.
    taken: Mutex<Instant>,
}

impl Pace {
    pub fn new(at_once: u32, a_second: u32) -> Self {
        let interval = Duration::from_secs(1) / a_second;
        Self { interval, ahead: interval * at_once, taken: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn.
    pub async fn turn(&self) {
        let due = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            *taken = (*taken).max(Instant::now()) + self.interval;
            *taken - self.ahead
        };
        if due > Instant::now() {
            sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_once_up_to_a_number_and_then_at_the_pace() {
        let pace = Pace::new(10, 100);
        let begun = Instant::now();
        for _ in 0..10 {
            pace.turn().await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..50 {
            pace.turn().await;
        }
        // The clock is the test's own, and as coarse as the timer.
        assert!((500..=550).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn turns_that_were_not_taken_are_not_saved_beyond_that_number() {
        let pace = Pace::new(10, 100);
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..20 {
            pace.turn().await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    }
}

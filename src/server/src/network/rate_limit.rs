//! Rate limits for the work that a program makes the server do, which no limit of the sandbox counts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A token bucket: lets `burst` permits through at once, and then one each `interval`.
pub struct RateLimiter {
    interval: Duration,
    /// The time in which a full burst would pass at the steady rate.
    burst_time: Duration,
    /// When the permits given out so far would be used up at the steady rate.
    used_until: Mutex<Instant>,
}

impl RateLimiter {
    /// Makes a limiter with a full bucket.
    pub fn new(burst: u32, per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second;
        Self { interval, burst_time: interval * burst, used_until: Mutex::new(Instant::now()) }
    }

    /// Waits until the rate allows one more permit, and takes it.
    pub async fn acquire(&self) {
        let due = {
            let mut used_until = self.used_until.lock().unwrap_or_else(PoisonError::into_inner);
            *used_until = (*used_until).max(Instant::now()) + self.interval;
            *used_until - self.burst_time
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
    async fn permits_beyond_the_burst_come_at_the_steady_rate() {
        let limiter = RateLimiter::new(10, 100);
        let begun = Instant::now();
        for _ in 0..10 {
            limiter.acquire().await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..50 {
            limiter.acquire().await;
        }
        // The paused clock has the timer's resolution of a millisecond.
        assert!((500..=550).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn unused_permits_are_not_saved_beyond_the_burst() {
        let limiter = RateLimiter::new(10, 100);
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..20 {
            limiter.acquire().await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    }
}

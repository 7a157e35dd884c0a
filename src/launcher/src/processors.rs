//! Which processors a sandbox stays on. Programs start as many threads as they have processors, so each sandbox has no
//! more than it may use, and different ones as far as possible.

use std::collections::HashMap;

/// How many sandboxes stay on each processor.
#[derive(Debug, Default)]
pub struct ProcessorLoad {
    /// By processor, the number of sandboxes with a call, and that of those which wait for one.
    sandboxes: HashMap<usize, (usize, usize)>,
}

impl ProcessorLoad {
    /// Adds a sandbox that stays on `processors`.
    pub fn add(&mut self, processors: &[usize], has_call: bool) {
        for processor in processors {
            let (with_call, waiting) = self.sandboxes.entry(*processor).or_default();
            *(if has_call { with_call } else { waiting }) += 1;
        }
    }

    /// Returns how many sandboxes with a call are on the busiest of `processors`.
    pub fn calls_on(&self, processors: &[usize]) -> usize {
        processors.iter().map(|processor| self.of(*processor).0).max().unwrap_or(0)
    }

    /// Chooses `count` of the `allowed` processors, those with the fewest sandboxes first, then those from `near` on:
    /// the kernel starts a process where there is least to do. `None` if all of them are needed.
    pub fn choose(&self, count: usize, allowed: &[usize], near: usize) -> Option<Vec<usize>> {
        if count >= allowed.len() {
            return None;
        }
        let mut sorted = allowed.to_vec();
        sorted.sort_by_key(|processor| (self.of(*processor), *processor < near, *processor));
        sorted.truncate(count);
        Some(sorted)
    }

    fn of(&self, processor: usize) -> (usize, usize) {
        self.sandboxes.get(&processor).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_are_spread_over_the_allowed_processors() {
        let allowed = [2, 3, 5, 7];
        let mut load = ProcessorLoad::default();
        for expected in [[5, 7], [2, 3], [5, 7]] {
            let chosen = load.choose(2, &allowed, 5).expect("there are more");
            assert_eq!(chosen, expected);
            load.add(&chosen, false);
        }
        assert_eq!(load.choose(4, &allowed, 0), None);
        assert_eq!(load.choose(9, &allowed, 0), None);
    }

    #[test]
    fn processor_of_a_running_call_is_the_last_to_be_chosen() {
        let mut load = ProcessorLoad::default();
        load.add(&[0], true);
        load.add(&[1], false);
        load.add(&[1], false);
        assert_eq!(load.choose(1, &[0, 1], 0), Some(vec![1]));
        assert_eq!((load.calls_on(&[0, 1]), load.calls_on(&[1])), (1, 0));
    }
}

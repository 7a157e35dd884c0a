//! Versions of Landlock, and what they confine.

/// A version of Landlock, as the kernel counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Landlock(pub u32);

impl Landlock {
    /// Returns whether it keeps files that may only be read from being truncated.
    pub fn guards_content(self) -> bool {
        self.0 >= 3
    }

    /// Returns whether it keeps signals and connections to abstract unix sockets inside.
    pub fn guards_signals(self) -> bool {
        self.0 >= 6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landlock_versions_confine_content_and_signals() {
        let guards = |version| (Landlock(version).guards_content(), Landlock(version).guards_signals());
        assert_eq!([2, 3, 5, 6].map(guards), [(false, false), (true, false), (true, false), (true, true)]);
    }
}

//! Attacks as their files define them, and the verdict on a result.

use std::path::Path;

use regex_lite::Regex;
use serde::Deserialize;

use test_support::client::Reply;

/// One attack.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// The fact that holds if the attack fails.
    pub name: String,
    /// The executors to attack. `namespace` includes all executors with pinned environments. An empty list means all
    /// executors.
    #[serde(default)]
    only: Vec<String>,
    /// The reason why the attack is ignored. `None` if it is carried out.
    pub ignored: Option<String>,
    /// A requirement of the wall that holds the attack.
    pub needs: Option<Need>,
    /// A Python program of another call that runs during the attack. It has the secret to steal, and never ends by
    /// itself. The attack is repeated after this call was cancelled.
    pub victim: Option<String>,

    // Exactly one of these is the program. The name is that of the tool.
    python: Option<String>,
    shell: Option<String>,
    #[serde(rename = "network-tools")]
    network_tools: Option<String>,

    // The attack must end in one of these two ways.
    /// The words that may follow `held:` in the output. The exit status must be 0.
    #[serde(default)]
    held: Vec<String>,
    /// A regular expression that the result's text must match. `^` and `$` match at line breaks.
    ends: Option<String>,

    /// Texts that the result must contain, including its files.
    #[serde(default)]
    returned: Vec<String>,
    /// Texts that the result must not contain, including its files.
    #[serde(default)]
    withheld: Vec<String>,
}

/// A requirement of the wall that holds an attack.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Need {
    #[serde(rename = "Landlock's scopes")]
    LandlockScopes,
    /// The program's user outside of its user namespace.
    #[serde(rename = "a user other than root")]
    OtherUser,
}

/// The result of an attack.
pub enum AttackVerdict {
    Held,
    /// This machine does not have the target of the attack. The text is the reason.
    NotHere(String),
    /// The attack succeeded, or ended in an unexpected way. The texts are the reasons.
    NotHeld(Vec<String>),
}

impl Attack {
    /// Checks the data, so that mistakes in it do not look like attacks that were held.
    pub fn validate(&self, path: &Path) {
        let programs = [&self.python, &self.shell, &self.network_tools].into_iter().flatten().count();
        let at = format!("{}: {}", path.display(), self.name);
        assert!(programs == 1, "{at}: there must be one program");
        assert!(!self.held.is_empty() || self.ends.is_some(), "{at}: `held` or `ends` is missing");
    }

    /// Returns whether this is an attack on an executor.
    pub fn is_for(&self, executor: &str) -> bool {
        let executor = if executor.starts_with("derivation") { "namespace" } else { executor };
        self.only.is_empty() || self.only.iter().any(|name| name == executor)
    }

    /// Returns the tool and the program.
    pub fn program(&self) -> (&'static str, &str) {
        let programs =
            [("python", &self.python), ("shell", &self.shell), ("network-tools", &self.network_tools)].into_iter();
        let mut given = programs.filter_map(|(tool, program)| Some((tool, program.as_deref()?)));
        given.next().expect("the attack was validated")
    }

    /// Judges the result of the attack. `fill` substitutes the placeholders of a text.
    pub fn judge(&self, reply: &Reply, fill: impl Fn(&str) -> String) -> AttackVerdict {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| reply.field(name).as_str().unwrap_or_default());
        if let Some(reason) = stdout.strip_prefix("not here: ").filter(|_| stdout.lines().count() == 1) {
            return AttackVerdict::NotHere(reason.trim_end().to_owned());
        }
        let mut wrong = Vec::new();
        let is_held = *reply.field("exit_code") == 0 && self.are_words(stdout);
        let ends = self.ends.as_ref().map(|pattern| fill(pattern));
        if !is_held && !ends.as_ref().is_some_and(|pattern| matches(pattern, reply.text_content())) {
            let words = (!self.held.is_empty()).then(|| format!("held: {}", self.held.join(" | ")));
            let ways: Vec<_> = words.into_iter().chain(ends).collect();
            wrong.push(format!("it did not end with {}", ways.join(" or ")));
        }
        if stdout.contains("ESCAPED") || stderr.contains("ESCAPED") {
            wrong.push("the program reported an escape".to_owned());
        }
        let whole = reply.everything();
        let missing = self.returned.iter().filter(|text| !whole.contains(text.as_str()));
        wrong.extend(missing.map(|text| format!("{text:?} was not returned")));
        let excessive = self.withheld.iter().filter(|text| whole.contains(text.as_str()));
        wrong.extend(excessive.map(|text| format!("{text:?} was returned")));
        if wrong.is_empty() { AttackVerdict::Held } else { AttackVerdict::NotHeld(wrong) }
    }

    /// Returns whether the output consists of `held:` and words that are allowed.
    fn are_words(&self, stdout: &str) -> bool {
        let Some(words) = stdout.strip_prefix("held: ").and_then(|rest| rest.strip_suffix('\n')) else { return false };
        !words.is_empty() && words.split(' ').all(|word| self.held.iter().any(|allowed| allowed == word))
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(&format!("(?m){pattern}")).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(text)
}

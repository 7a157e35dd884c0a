//! An attack as its file states it, and what is said of a result.

use std::path::Path;

use regex_lite::Regex;
use serde::Deserialize;

use crate::content;
use test_support::client::Reply;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// What holds, as a fact.
    pub name: String,
    /// The executors that this is an attack on, of which `namespace` stands for all with pinned environments; none means
    /// all.
    #[serde(default)]
    only: Vec<String>,
    /// Why it is not carried out yet.
    pub ignored: Option<String>,
    /// What the kernel must have for the wall that holds it.
    pub needs: Option<Need>,
    /// A Python program of another call, at work when the attack begins. It holds what is to be stolen, and never ends
    /// by itself. After it was cancelled the attack is carried out once more.
    pub victim: Option<String>,

    // The program is one of these, by the tool that runs it.
    python: Option<String>,
    shell: Option<String>,
    #[serde(rename = "network-tools")]
    network_tools: Option<String>,

    // It ends in one of these ways.
    /// The words that may follow `held:` in all that it prints, and its exit status is 0.
    #[serde(default)]
    held: Vec<String>,
    /// A regular expression that the result's text matches, in which `^` and `$` stand for the ends of lines.
    ends: Option<String>,

    /// What the result must hold anywhere, such as in a file that comes with it.
    #[serde(default)]
    returned: Vec<String>,
    /// What it must not hold anywhere.
    #[serde(default)]
    withheld: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Need {
    #[serde(rename = "Landlock's scopes")]
    LandlockScopes,
    /// To the kernel, whoever the program is inside.
    #[serde(rename = "a user other than root")]
    OtherUser,
}

/// What an attack came to.
pub enum Verdict {
    Held,
    /// This machine has no such thing to attack.
    NotHere(String),
    /// What is wrong.
    NotHeld(Vec<String>),
}

impl Attack {
    /// Mistakes in the data must not look like attacks that were held.
    pub fn validate(&self, path: &Path) {
        let programs = [&self.python, &self.shell, &self.network_tools].into_iter().flatten().count();
        let at = format!("{}: {}", path.display(), self.name);
        assert!(programs == 1, "{at}: there is one program");
        assert!(!self.held.is_empty() || self.ends.is_some(), "{at}: it says how it ends");
    }

    pub fn is_for(&self, executor: &str) -> bool {
        let executor = if executor.starts_with("derivation") { "namespace" } else { executor };
        self.only.is_empty() || self.only.iter().any(|name| name == executor)
    }

    /// The tool and the program.
    pub fn program(&self) -> (&'static str, &str) {
        let programs =
            [("python", &self.python), ("shell", &self.shell), ("network-tools", &self.network_tools)].into_iter();
        let mut given = programs.filter_map(|(tool, program)| Some((tool, program.as_deref()?)));
        given.next().expect("the attack was validated")
    }

    /// What the result says of the attack. `fill` puts facts in the places that are kept for them.
    pub fn judge(&self, reply: &Reply, fill: impl Fn(&str) -> String) -> Verdict {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| reply.field(name).as_str().unwrap_or_default());
        if let Some(reason) = stdout.strip_prefix("not here: ").filter(|_| stdout.lines().count() == 1) {
            return Verdict::NotHere(reason.trim_end().to_owned());
        }
        let mut wrong = Vec::new();
        let is_held = *reply.field("exit_code") == 0 && self.are_words(stdout);
        let ends = self.ends.as_ref().map(|pattern| fill(pattern));
        if !is_held && !ends.as_ref().is_some_and(|pattern| matches(pattern, content::text(reply))) {
            let words = (!self.held.is_empty()).then(|| format!("held: {}", self.held.join(" | ")));
            let ways: Vec<_> = words.into_iter().chain(ends).collect();
            wrong.push(format!("it did not end with {}", ways.join(" or ")));
        }
        if stdout.contains("ESCAPED") || stderr.contains("ESCAPED") {
            wrong.push("it was not held".to_owned());
        }
        let whole = content::everything(reply);
        let missing = self.returned.iter().filter(|text| !whole.contains(text.as_str()));
        wrong.extend(missing.map(|text| format!("{text:?} was not returned")));
        let excessive = self.withheld.iter().filter(|text| whole.contains(text.as_str()));
        wrong.extend(excessive.map(|text| format!("{text:?} was returned")));
        if wrong.is_empty() { Verdict::Held } else { Verdict::NotHeld(wrong) }
    }

    /// Whether all that was printed is `held:` and words that are allowed.
    fn are_words(&self, stdout: &str) -> bool {
        let Some(words) = stdout.strip_prefix("held: ").and_then(|rest| rest.strip_suffix('\n')) else { return false };
        !words.is_empty() && words.split(' ').all(|word| self.held.iter().any(|allowed| allowed == word))
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(&format!("(?m){pattern}")).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(text)
}

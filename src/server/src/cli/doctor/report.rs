//! What `doctor` reports: findings in sections, as text and as JSON.

use serde::Serialize;

use crate::cli::output::wrap;
use crate::cli::server_info::ServerInfo;

/// What `doctor --json` prints.
#[derive(Debug, Serialize)]
pub struct DoctorReport {
    pub server: ServerInfo,
    /// Whether nothing is broken.
    pub works: bool,
    pub sections: Vec<Section>,
}

#[derive(Debug, Serialize)]
pub struct Section {
    pub title: &'static str,
    pub findings: Vec<Finding>,
}

/// One line of the report.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub state: State,
    pub what: String,
    /// What it is, or why it is missing, what that costs, and how to get it.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[serde(rename = "ok")]
    Good,
    /// Calls run, but not as well as they could.
    Missing,
    /// It is missing or off, and no call here needs it.
    Unneeded,
    /// Calls do not run.
    Broken,
}

/// The columns before the text of a finding.
const INDENT: usize = 26;

const LEGEND: &str = "ok: fine   --: missing, calls run without it   ..: not needed here   !!: calls fail";

impl State {
    fn sign(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Missing => "--",
            Self::Unneeded => "..",
            Self::Broken => "!!",
        }
    }
}

impl Finding {
    fn new(state: State, what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { state, what: what.into(), detail: detail.into() }
    }

    /// Marks what is missing or broken as not needed, unless it is.
    pub fn where_needed(mut self, is_needed: bool) -> Self {
        if self.state != State::Good && !is_needed {
            self.state = State::Unneeded;
        }
        self
    }
}

pub fn good(what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding::new(State::Good, what, detail)
}

pub fn missing(what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding::new(State::Missing, what, detail)
}

pub fn broken(what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding::new(State::Broken, what, detail)
}

impl DoctorReport {
    pub fn new(server: ServerInfo, sections: Vec<Section>) -> Self {
        let works = sections.iter().flat_map(|section| &section.findings).all(|finding| finding.state != State::Broken);
        Self { server, works, sections }
    }

    /// Returns the report for a terminal of this width.
    pub fn text(&self, width: Option<usize>) -> String {
        let mut text = format!("sandbox-mcp {}\n\n", wrap(&self.server.line(), 2, width));
        for Section { title, findings } in self.sections.iter().filter(|section| !section.findings.is_empty()) {
            text += &format!("{title}\n");
            for Finding { state, what, detail } in findings {
                text += &format!("  {}  {what:<20}{}\n", state.sign(), wrap(detail, INDENT, width));
            }
            text.push('\n');
        }
        text + LEGEND + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::catalog::catalog;

    fn report(findings: Vec<Finding>) -> DoctorReport {
        DoctorReport::new(ServerInfo::of(catalog()), vec![Section { title: "Nix", findings }])
    }

    #[test]
    fn each_state_has_a_sign_of_its_own_and_only_broken_fails() {
        let all = vec![good("a", "1"), missing("b", "2"), missing("c", "3").where_needed(false), broken("d", "4")];
        let report_of_all = report(all);
        let text = report_of_all.text(None);
        for line in ["  ok  a  ", "  --  b  ", "  ..  c  ", "  !!  d  "] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!report_of_all.works && report(vec![missing("b", "2")]).works);
        assert_eq!(missing("b", "2").where_needed(true).state, State::Missing);
        assert_eq!(broken("d", "4").where_needed(false).state, State::Unneeded);
        let json = serde_json::to_value(&report_of_all).unwrap();
        let states: Vec<_> = (0..4).map(|index| json["sections"][0]["findings"][index]["state"].clone()).collect();
        assert_eq!(states, ["ok", "missing", "unneeded", "broken"]);
    }

    #[test]
    fn long_details_are_wrapped_in_their_column() {
        let text = report(vec![good("daemon", "listens at a socket that is far away from here")]).text(Some(60));
        let expected =
            "  ok  daemon              listens at a socket that is far\n                          away from here\n";
        assert!(text.contains(expected), "{text}");
    }
}

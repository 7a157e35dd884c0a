//! The allow-list: the hosts and ports that a sandbox may connect to.
//!
//! An entry is `host:port`. The host is a full domain name, an IPv4 address, or `*.` and a domain name for all names
//! below it. A name that a program gives is checked by the same rules before it is compared, so that no alternative
//! spelling of a name or of an address gets through.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;

use super::address;

/// How many entries a list may have. A longer list cannot be reviewed, and each entry may take one descriptor of the
/// server for each sandbox.
pub const MAX_ENTRIES: usize = 64;

/// The longest domain name (RFC 1035).
const MAX_NAME_BYTES: usize = 253;
/// The longest label of a domain name (RFC 1035).
const MAX_LABEL_BYTES: usize = 63;

const EXAMPLE: &str = "such as api.example.org:443";

/// One entry of an allow-list. It is constructed only by [`Entry::parse`], or by build.rs from entries that it parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry<'a> {
    pub to: Pattern<'a>,
    pub port: u16,
}

/// The hosts that an entry allows. Names are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern<'a> {
    /// This name.
    Name(&'a str),
    /// All names with at least one more label than this one: `*.example.org`.
    Below(&'a str),
    /// This address, but no name that resolves to it.
    Address(Ipv4Addr),
}

/// How many characters of an invalid entry are shown.
const MAX_SHOWN_CHARACTERS: usize = 100;

/// The reason why an entry is refused, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("network entry {} {reason}", shown(.entry))]
pub struct EntryError {
    entry: String,
    reason: Cow<'static, str>,
}

/// Quotes an entry, and truncates it if it is long.
fn shown(entry: &str) -> String {
    match entry.char_indices().nth(MAX_SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{:?}…", &entry[..end]),
        None => format!("{entry:?}"),
    }
}

impl<'a> Entry<'a> {
    /// Parses `host:port`.
    pub fn parse(text: &'a str) -> Result<Self, EntryError> {
        parse(text).map_err(|reason| EntryError { entry: text.to_owned(), reason })
    }

    fn permits(&self, host: &RemoteHost, port: u16) -> bool {
        self.port == port && self.to.matches(host)
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Pattern::Name(name) => write!(f, "{name}:{}", self.port),
            Pattern::Below(domain) => write!(f, "*.{domain}:{}", self.port),
            Pattern::Address(address) => write!(f, "{address}:{}", self.port),
        }
    }
}

impl Pattern<'_> {
    fn matches(&self, host: &RemoteHost) -> bool {
        match (self, host) {
            (Self::Name(name), RemoteHost::Name(host)) => host.as_str() == *name,
            (Self::Below(domain), RemoteHost::Name(host)) => host
                .as_str()
                .strip_suffix(domain)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty()),
            (Self::Address(address), RemoteHost::Address(host)) => host == address,
            _ => false,
        }
    }
}

/// Checks the number of entries, and that no entry is listed twice.
pub fn check(entries: &[Entry]) -> Result<(), String> {
    if entries.len() > MAX_ENTRIES {
        return Err(format!("it has {} entries: {MAX_ENTRIES} at most", entries.len()));
    }
    match entries.iter().enumerate().find(|(index, entry)| entries[..*index].contains(entry)) {
        Some((_, entry)) => Err(format!("`{entry}` is listed twice: remove one")),
        None => Ok(()),
    }
}

/// Returns whether these entries allow connections to a host and port.
pub fn permits(entries: &[Entry], host: &RemoteHost, port: u16) -> bool {
    entries.iter().any(|entry| entry.permits(host, port))
}

/// Returns whether these entries allow connections to a host at some port.
pub fn lists(entries: &[Entry], host: &RemoteHost) -> bool {
    entries.iter().any(|entry| entry.to.matches(host))
}

/// A host that a program wants to connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemoteHost {
    Name(HostName),
    Address(Ipv4Addr),
}

impl fmt::Display for RemoteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// A full domain name in lower case, without the final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// Parses a name, and converts it to lower case. `None` if it is no valid full domain name, for example an address.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.to_ascii_lowercase();
        check_name(&name).ok().map(|()| Self(name))
    }

    /// Joins the labels of a DNS name. `None` if the name is invalid, or if a label contains a dot, which DNS permits.
    pub fn of_labels(labels: &[&[u8]]) -> Option<Self> {
        let name = labels.join(&b'.');
        let plain = labels.iter().all(|label| !label.contains(&b'.'));
        std::str::from_utf8(&name).ok().filter(|_| plain).and_then(Self::parse)
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type EntryProblem = Cow<'static, str>;

fn parse(text: &str) -> Result<Entry<'_>, EntryProblem> {
    if text.is_empty() {
        return Err(format!("is empty: write host:port, {EXAMPLE}").into());
    }
    if text.contains('/') {
        return Err(format!("is a URL or a network: write host:port, {EXAMPLE}").into());
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("has no port: write host:port, {EXAMPLE}").into());
    };
    if host.contains([':', '[', ']']) {
        return Err("holds more than one `:`; IPv6 addresses are not offered: name the host".into());
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    let Some(port) = port.parse().ok().filter(|_| digits) else {
        return Err(format!("has the port {port:?}: give a number from 1 to 65535, without zeros before it").into());
    };
    Ok(Entry { to: pattern(host)?, port })
}

fn pattern(host: &str) -> Result<Pattern<'_>, EntryProblem> {
    // The standard library accepts only the spelling with four decimal numbers.
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return match address::refused(address.into()) {
            None => Ok(Pattern::Address(address)),
            Some(block) => Err(format!("names {block}, which is never connected to: remove it").into()),
        };
    }
    match host.strip_prefix("*.") {
        Some(domain) if domain.contains('*') => Err("has more than one `*`: one stands for all labels".into()),
        Some(domain) => match check_name(domain) {
            Ok(()) => Ok(Pattern::Below(domain)),
            Err(reason) => Err(reason),
        },
        None if host.contains('*') => {
            Err("has a `*` that is not its first label: write *.example.org for all names below".into())
        }
        None => check_name(host).map(|()| Pattern::Name(host)),
    }
}

/// Checks that the text is a full domain name in lower case.
fn check_name(name: &str) -> Result<(), EntryProblem> {
    if name.is_empty() {
        return Err("has no host: write host:port".into());
    }
    if name.contains('\0') {
        return Err("holds a NUL character: remove it".into());
    }
    if !name.is_ascii() {
        return Err("holds letters that are not ASCII: write it in punycode (xn--…)".into());
    }
    if name.ends_with('.') {
        return Err("ends with a dot: remove it".into());
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("has upper-case letters: write it in lower case".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("has a name of {} bytes: {MAX_NAME_BYTES} at most", name.len()).into());
    }
    name.split('.').try_for_each(check_label)?;
    let Some((_, last)) = name.rsplit_once('.') else {
        return Err("is not a full domain name: write it with its domain; localhost needs no entry".into());
    };
    // Other parsers accept `1.2.3.0x4` and `127.1` as addresses. No top-level domain is a number.
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("ends like an address: write four decimal numbers, or a name".into());
    }
    if last == "localhost" {
        return Err("is the sandbox itself, which needs no entry: remove it".into());
    }
    Ok(())
}

fn check_label(label: &str) -> Result<(), EntryProblem> {
    if label.is_empty() {
        return Err("has an empty label: remove the needless dot".into());
    }
    if label.len() > MAX_LABEL_BYTES {
        return Err(format!("has a label of {} bytes: {MAX_LABEL_BYTES} at most", label.len()).into());
    }
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if let Some(other) = label.bytes().find(|byte| !known(*byte)) {
        let other = char::from(other);
        return Err(format!("holds {other:?}: host names have only letters, digits, `-` and `.`").into());
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("has a label that begins or ends with `-`: host names do not allow that".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RemoteHost {
        RemoteHost::Name(HostName::parse(text).unwrap_or_else(|| panic!("{text} is a name")))
    }

    fn entries<'a>(texts: &[&'a str]) -> Vec<Entry<'a>> {
        texts.iter().map(|text| Entry::parse(text).unwrap_or_else(|error| panic!("{error}"))).collect()
    }

    #[test]
    fn valid_entry_is_shown_as_it_was_written() {
        for (text, to) in [
            ("api.example.org:443", Pattern::Name("api.example.org")),
            ("*.example.org:8443", Pattern::Below("example.org")),
            ("xn--bcher-kva.example:80", Pattern::Name("xn--bcher-kva.example")),
            ("3com.com:1", Pattern::Name("3com.com")),
            ("8.8.8.8:53", Pattern::Address(Ipv4Addr::new(8, 8, 8, 8))),
            ("a.b:65535", Pattern::Name("a.b")),
        ] {
            let entry = Entry::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((entry.to, &*entry.to_string()), (to, text));
        }
    }

    #[test]
    fn invalid_entry_is_refused_with_what_to_change() {
        let long_label = format!("{}.org:443", "x".repeat(64));
        let long_name = format!("{}org:443", "x.".repeat(126));
        for (text, reason) in [
            ("", "is empty: write host:port, such as api.example.org:443"),
            ("https://example.org", "is a URL or a network: write host:port"),
            ("example.org:443/path", "is a URL or a network"),
            ("10.0.0.0/8:443", "is a URL or a network"),
            ("example.org", "has no port"),
            (":443", "has no host"),
            ("example.org:", "has the port \"\""),
            ("example.org:0", "has the port \"0\""),
            ("example.org:0443", "has the port \"0443\""),
            ("example.org:+443", "has the port \"+443\""),
            ("example.org:65536", "has the port \"65536\": give a number from 1 to 65535"),
            ("example.org:https", "has the port \"https\""),
            ("example.org:*", "has the port \"*\""),
            ("example.org: 443", "has the port \" 443\""),
            ("[2606:4700::1111]:443", "IPv6 addresses are not offered: name the host"),
            ("2606:4700::1111:443", "IPv6 addresses are not offered"),
            ("example.org\0.evil.org:443", "holds a NUL character"),
            ("bücher.example:443", "write it in punycode"),
            ("example.org.:443", "ends with a dot: remove it"),
            ("API.example.org:443", "write it in lower case"),
            ("a..example.org:443", "has an empty label"),
            (".example.org:443", "has an empty label"),
            ("a b.example.org:443", "holds ' '"),
            ("a_b.example.org:443", "holds '_'"),
            ("user@example.org:443", "holds '@'"),
            ("-a.example.org:443", "begins or ends with `-`"),
            ("a-.example.org:443", "begins or ends with `-`"),
            (&long_label, "has a label of 64 bytes: 63 at most"),
            (&long_name, "has a name of 255 bytes: 253 at most"),
            ("intranet:443", "is not a full domain name"),
            ("localhost:443", "is not a full domain name: write it with its domain; localhost needs no entry"),
            ("db.localhost:443", "is the sandbox itself"),
            ("*:443", "has a `*` that is not its first label"),
            ("*example.org:443", "has a `*` that is not its first label"),
            ("a.*.example.org:443", "has a `*` that is not its first label"),
            ("*.*.example.org:443", "has more than one `*`"),
            ("*.org:443", "is not a full domain name"),
            ("*.:443", "has no host"),
            ("127.0.0.1:443", "names a loopback address (RFC 1122), which is never connected to"),
            ("169.254.169.254:80", "names a cloud's metadata service"),
            ("198.18.0.1:80", "names an address for benchmarks"),
            ("127.1:443", "ends like an address"),
            ("8.8.8.010:443", "ends like an address"),
            ("8.8.0x8:443", "ends like an address"),
            ("8.8.0x:443", "ends like an address"),
            ("1.2.3.4.5:443", "ends like an address"),
            ("2130706433:443", "is not a full domain name"),
        ] {
            let error = Entry::parse(text).expect_err(text).to_string();
            assert!(error.starts_with("network entry \"") && error.contains(reason), "{error}");
            assert!(error.len() < 300, "the error stays readable");
        }
    }

    #[test]
    fn host_is_permitted_only_at_its_listed_ports() {
        let list = entries(&["api.example.org:443", "api.example.org:8443", "8.8.8.8:53"]);
        let api = name("api.example.org");
        assert!(permits(&list, &api, 443) && permits(&list, &api, 8443) && !permits(&list, &api, 80));
        assert!(!permits(&list, &api, 0));
        assert!(!permits(&list, &name("example.org"), 443));
        assert!(!permits(&list, &name("api.example.org.evil.org"), 443));
        assert!(!permits(&list, &name("evil-api.example.org"), 443));
        let address = RemoteHost::Address(Ipv4Addr::new(8, 8, 8, 8));
        assert!(permits(&list, &address, 53) && !permits(&list, &address, 443));
        assert!(!permits(&list, &RemoteHost::Address(Ipv4Addr::new(8, 8, 4, 4)), 53));
    }

    #[test]
    fn wildcard_matches_names_below_but_not_the_domain_itself() {
        let list = entries(&["*.example.org:443"]);
        for (host, allowed) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("A.Example.ORG", true),
            ("example.org", false),
            ("badexample.org", false),
            ("a.example.org.evil.com", false),
            ("a.example.com", false),
        ] {
            assert_eq!(permits(&list, &name(host), 443), allowed, "{host}");
            assert_eq!(lists(&list, &name(host)), allowed, "{host}");
            assert!(!permits(&list, &name(host), 80), "{host}");
        }
    }

    #[test]
    fn empty_list_permits_nothing() {
        let host = name("example.org");
        assert!(!permits(&[], &host, 443) && !lists(&[], &host));
        assert_eq!(check(&[]), Ok(()));
    }

    #[test]
    fn alternative_spelling_is_no_host_name() {
        assert_eq!(HostName::parse("API.Example.Org").unwrap().as_str(), "api.example.org");
        let long = format!("{}org", "x.".repeat(126));
        for text in [
            "",
            ".",
            "example.org.",
            "example.org\0",
            "example.org\0.evil.org",
            "a..b",
            ".a.b",
            "bücher.example",
            "\u{ff41}.example",
            "8.8.8.8",
            "8.8.8.8.",
            "0x7f.1",
            "127.1",
            "1.2.3.0x",
            "[::1]",
            "::1",
            "a b.c",
            "a_b.c",
            "*.a.b",
            "localhost",
            "a.localhost",
            "\u{212a}.example",
            &long,
        ] {
            assert_eq!(HostName::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn label_with_a_dot_or_invalid_text_makes_no_host_name() {
        let name = HostName::of_labels(&[b"API", b"example", b"org"]).unwrap();
        assert_eq!(name.as_str(), "api.example.org");
        for labels in [&[&b"api.example"[..], b"org"][..], &[b"a\xff", b"org"], &[b"a\0", b"org"], &[b"org"], &[]] {
            assert_eq!(HostName::of_labels(labels), None, "{labels:?}");
        }
    }

    #[test]
    fn long_or_repetitive_list_is_refused() {
        let texts: Vec<String> = (1..=65).map(|port| format!("example.org:{port}")).collect();
        let list: Vec<Entry> = texts.iter().map(|text| Entry::parse(text).unwrap()).collect();
        assert_eq!(check(&list[..64]), Ok(()));
        assert_eq!(check(&list).unwrap_err(), "it has 65 entries: 64 at most");
        let twice = entries(&["a.org:1", "*.a.org:1", "a.org:1"]);
        assert_eq!(check(&twice).unwrap_err(), "`a.org:1` is listed twice: remove one");
    }
}

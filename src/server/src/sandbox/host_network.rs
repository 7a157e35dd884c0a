//! What programs on the host's network are given of the host: how names are resolved, which proxies it uses, and which
//! certificates it trusts.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::call::definition::{Network, Sandbox};

/// Files that a program needs to resolve names. They contain no secrets.
const RESOLVER_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/services"];
/// The server's variables that programs get.
const PROXIES: [&str; 6] = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
/// The variable that names the certificates to trust, of the server and of programs, and where a sandbox has them.
const CERTIFICATES: &str = "SSL_CERT_FILE";
const CERTIFICATES_INSIDE: &str = "/etc/host-certificates.crt";
/// The bytes of certificates that a sandbox's root has room for.
const MAX_CERTIFICATES: usize = 1 << 20;

/// Returns the files of a sandbox on the host's network. Files that cannot be read are left out.
pub fn files() -> Vec<(PathBuf, String)> {
    let read = |path: &&str| Some((path.into(), fs::read_to_string(path).ok()?));
    let certificates = certificates().map(|text| (CERTIFICATES_INSIDE.into(), text));
    RESOLVER_FILES.iter().filter_map(read).chain(certificates).collect()
}

/// Adds the host's variables to those of a sandbox's program, if it is on the host's network. What its definition sets
/// stays, except which certificates are trusted. `sees_etc`: whether [`files`] are there.
pub fn add_variables(variables: &mut Vec<(String, String)>, sandbox: &Sandbox, sees_etc: bool) {
    if sandbox.network != Network::Bridge {
        return;
    }
    for name in PROXIES {
        let is_set = variables.iter().any(|(known, _)| known == name);
        if let (false, Ok(value)) = (is_set, env::var(name)) {
            variables.push((name.to_owned(), value));
        }
    }
    if sees_etc && certificates().is_some() {
        variables.retain(|(name, _)| name != CERTIFICATES);
        variables.push((CERTIFICATES.to_owned(), CERTIFICATES_INSIDE.to_owned()));
    }
}

/// Returns the certificates that the server is told to trust.
fn certificates() -> Option<String> {
    let path = env::var_os(CERTIFICATES).filter(|path| Path::new(path).is_absolute())?;
    fs::read_to_string(path).ok().filter(|text| text.len() <= MAX_CERTIFICATES && text.contains("-----BEGIN"))
}

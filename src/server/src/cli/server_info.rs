//! Which server this is: what two servers are compared by.

use serde::Serialize;

use crate::call::catalog::Catalog;
use crate::nix::run_derivation::builder_path;

/// What decides which receipts a server gives. Servers whose manifest and launcher are the same give the same ones.
#[derive(Debug, Serialize)]
pub struct ServerInfo {
    pub version: &'static str,
    /// The hash of the manifest that it was built from.
    pub manifest: &'static str,
    /// The store path of the launcher; none of a portable server, which gives no receipts.
    pub launcher: Option<&'static str>,
    /// The system of the pinned environments; none of a portable server, which has no environments.
    pub system: Option<&'static str>,
    /// The revision of nixpkgs that the environments are of, if Nix knew it.
    pub nixpkgs: Option<&'static str>,
}

impl ServerInfo {
    pub fn of(catalog: &Catalog) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            manifest: catalog.manifest_hash,
            launcher: catalog.system.map(|_| builder_path().as_str()),
            system: catalog.system,
            nixpkgs: catalog.nixpkgs,
        }
    }

    /// Returns the version and, in parentheses, the rest in one line.
    pub fn line(&self) -> String {
        let Self { version, manifest, launcher, nixpkgs, .. } = self;
        match launcher {
            None => format!("{version} (portable, without pinned environments; manifest {manifest})"),
            Some(launcher) => {
                let nixpkgs = nixpkgs.unwrap_or("of an unknown revision");
                format!("{version} (manifest {manifest}, launcher {}, nixpkgs {nixpkgs})", hash(launcher))
            }
        }
    }
}

/// Returns the hash in a store path.
fn hash(path: &str) -> &str {
    path.rsplit('/').next().and_then(|name| name.split('-').next()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_tells_what_receipts_depend_on() {
        let mut info = ServerInfo {
            version: "1.2.3",
            manifest: "00ff",
            launcher: Some("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-sandbox-launcher"),
            system: Some("x86_64-linux"),
            nixpkgs: Some("abcdef"),
        };
        let launcher = "launcher 0123456789abcdfghijklmnpqrsvwxyz";
        assert_eq!(info.line(), format!("1.2.3 (manifest 00ff, {launcher}, nixpkgs abcdef)"));
        info.nixpkgs = None;
        assert_eq!(info.line(), format!("1.2.3 (manifest 00ff, {launcher}, nixpkgs of an unknown revision)"));
        (info.launcher, info.system) = (None, None);
        assert_eq!(info.line(), "1.2.3 (portable, without pinned environments; manifest 00ff)");
    }
}

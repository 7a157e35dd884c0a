//! The roots that keep environments and packages from Nix's garbage collector: links in a directory of this server's own.

use std::path::{Path, PathBuf};
use std::{fs, io};

use nix_store::store_path::STORE;

/// The directory of the roots, below the user's state directory.
const DIRECTORY: &str = "sandbox-mcp/gcroots";

/// A directory of roots.
#[derive(Debug, Clone)]
pub struct Roots(PathBuf);

/// One root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcRoot {
    pub name: String,
    /// The store path that it keeps, which may be gone.
    pub target: PathBuf,
}

/// Why roots were not listed or dropped.
#[derive(Debug, thiserror::Error)]
pub enum GcRootError {
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot remove {}: {cause}", path.display())]
    Remove { path: PathBuf, cause: io::Error },
    #[error("there is no root `{name}` in {}: `sandbox-mcp roots` lists the roots", directory.display())]
    Unknown { name: String, directory: PathBuf },
}

impl Roots {
    pub fn below(state: &Path) -> Self {
        Self(state.join(DIRECTORY))
    }

    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// Returns the path of a root of this name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns all roots, by name. What is no link into the store is not ours, and left out.
    ///
    /// # Errors
    ///
    /// The directory is there and cannot be read.
    pub fn list(&self) -> Result<Vec<GcRoot>, GcRootError> {
        let failed = |cause| GcRootError::Read { path: self.0.clone(), cause };
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut roots = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let (Ok(target), Ok(name)) = (fs::read_link(entry.path()), entry.file_name().into_string()) else {
                continue;
            };
            if target.parent() == Some(Path::new(STORE)) {
                roots.push(GcRoot { name, target });
            }
        }
        roots.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(roots)
    }

    /// Removes the roots of these names, and returns them. Unless all of them exist, none is removed.
    ///
    /// # Errors
    ///
    /// A name is that of no root, or a root cannot be removed.
    pub fn drop_named(&self, names: &[String]) -> Result<Vec<GcRoot>, GcRootError> {
        let roots = self.list()?;
        if let Some(name) = names.iter().find(|name| roots.iter().all(|root| root.name != **name)) {
            return Err(GcRootError::Unknown { name: name.clone(), directory: self.0.clone() });
        }
        self.remove(roots.into_iter().filter(|root| names.contains(&root.name)).collect())
    }

    /// Removes all roots, and returns them.
    ///
    /// # Errors
    ///
    /// A root cannot be removed.
    pub fn drop_all(&self) -> Result<Vec<GcRoot>, GcRootError> {
        self.remove(self.list()?)
    }

    fn remove(&self, roots: Vec<GcRoot>) -> Result<Vec<GcRoot>, GcRootError> {
        for root in &roots {
            let path = self.path(&root.name);
            fs::remove_file(&path).map_err(|cause| GcRootError::Remove { path, cause })?;
        }
        Ok(roots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const TARGET: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-sandbox-mcp-shell";

    /// A directory with two roots, and beside them what is not ours.
    fn state() -> (tempfile::TempDir, Roots) {
        let state = tempfile::tempdir().unwrap();
        let roots = Roots::below(state.path());
        assert_eq!(roots.list().unwrap(), [], "without a directory there are none");
        fs::create_dir_all(roots.path("directory")).unwrap();
        fs::write(roots.path("file"), "x").unwrap();
        symlink("/etc/passwd", roots.path("link")).unwrap();
        symlink("/nix/store", roots.path("store")).unwrap();
        symlink(TARGET, roots.path("shell")).unwrap();
        symlink(TARGET, roots.path("python")).unwrap();
        (state, roots)
    }

    fn names(roots: &[GcRoot]) -> Vec<&str> {
        roots.iter().map(|root| root.name.as_str()).collect()
    }

    #[test]
    fn roots_are_the_links_into_the_store_by_name() {
        let (_state, roots) = state();
        let listed = roots.list().unwrap();
        assert_eq!(names(&listed), ["python", "shell"]);
        assert_eq!(listed[1].target, Path::new(TARGET));
    }

    #[test]
    fn named_roots_are_dropped_and_nothing_else() {
        let (_state, roots) = state();
        assert_eq!(names(&roots.drop_named(&["shell".to_owned()]).unwrap()), ["shell"]);
        assert_eq!(names(&roots.list().unwrap()), ["python"]);
        assert_eq!(names(&roots.drop_all().unwrap()), ["python"]);
        for kept in ["directory", "file", "link", "store"] {
            assert!(roots.path(kept).symlink_metadata().is_ok(), "{kept}");
        }
    }

    #[test]
    fn name_of_no_root_is_refused_and_no_other_is_dropped() {
        let (state, roots) = state();
        for name in ["link", "file", "directory", "ruby", "../gcroots/shell", "/etc/passwd", ""] {
            let error = roots.drop_named(&["shell".to_owned(), name.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("there is no root `{name}` in {}", state.path().display())), "{error}");
        }
        assert_eq!(names(&roots.list().unwrap()), ["python", "shell"]);
    }
}

//! A Nix store for tests, apart from the machine's.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{fs, str};

use libtest_mimic::Failed;
use nix_store::nar::Node;
use nix_store::store_path::StorePath;
use tempfile::TempDir;

/// Returns whether there is a Nix that can make a store for this user.
pub fn is_here() -> bool {
    let file = Node::File { content: b"", executable: false };
    Store::new().add("probe", &file).is_ok()
}

/// A store in a directory of its own, in which paths are named as if they were in /nix/store.
pub struct Store {
    pub directory: TempDir,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    pub fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.variables()).stdin(Stdio::null());
        command
    }

    /// Returns the variables that make Nix use this store, and nothing of the machine's configuration.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        let settings = "build-users-group =\nsandbox = true\nsubstituters =\nexperimental-features = nix-command\n";
        let directory = self.directory.path();
        [
            ("NIX_REMOTE", format!("local?root={}", directory.join("store").display())),
            ("NIX_CONFIG", settings.to_owned()),
            ("NIX_CONF_DIR", directory.display().to_string()),
        ]
    }

    /// Runs a program, which must succeed, and returns its output.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String, Failed> {
        said(self.command(program).args(arguments).output()?)
    }

    /// Adds an archive under the given path, whether or not that is right.
    pub fn import(&self, path: &StorePath, node: &Node, references: &[&StorePath]) -> Result<Output, Failed> {
        let string = |to: &mut Vec<u8>, text: &str| {
            to.extend((text.len() as u64).to_le_bytes());
            to.extend(text.as_bytes());
            to.resize(to.len().next_multiple_of(8), 0);
        };
        let mut export = 1_u64.to_le_bytes().to_vec();
        node.write(&mut export)?;
        export.extend(0x4558_494e_u64.to_le_bytes());
        string(&mut export, path.as_str());
        export.extend((references.len() as u64).to_le_bytes());
        for reference in references {
            string(&mut export, reference.as_str());
        }
        // No deriver, no signature, and nothing more to come.
        export.extend([0; 24]);
        let mut child = self
            .command("nix-store")
            .arg("--import")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().unwrap().write_all(&export)?;
        Ok(child.wait_with_output()?)
    }

    /// Adds a file or directory under its own name, as `nix-store --add` does.
    pub fn add(&self, name: &str, node: &Node) -> Result<StorePath, Failed> {
        let path = self.directory.path().join(name);
        unpack(node, &path)?;
        Ok(StorePath::parse(self.run("nix-store", &["--add", path.to_str().unwrap()])?.trim())?)
    }

    pub fn physical(&self, path: &StorePath) -> PathBuf {
        self.directory.path().join("store").join(path.as_str().trim_start_matches('/'))
    }

    pub fn realise(&self, path: &StorePath) -> Result<(), Failed> {
        self.run("nix-store", &["--realise", path.as_str()]).map(drop)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The store's files are read-only, and so are its directories, which only root could clear otherwise.
        let _ = Command::new("chmod").args(["-R", "u+w"]).arg(self.directory.path()).stderr(Stdio::null()).status();
    }
}

pub fn said(output: Output) -> Result<String, Failed> {
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn unpack(node: &Node, to: &Path) -> Result<(), Failed> {
    match node {
        Node::File { content, executable } => {
            use std::os::unix::fs::PermissionsExt;
            fs::write(to, content)?;
            fs::set_permissions(to, fs::Permissions::from_mode(if *executable { 0o755 } else { 0o644 }))?;
        }
        Node::Link { target } => std::os::unix::fs::symlink(str::from_utf8(target)?, to)?,
        Node::Directory(entries) => {
            fs::create_dir(to)?;
            for (name, node) in entries {
                unpack(node, &to.join(str::from_utf8(name)?))?;
            }
        }
    }
    Ok(())
}

/// Returns a program that needs nothing else in the store, to build with.
pub fn static_shell() -> Option<&'static Path> {
    Some(Path::new("/bin/bash-static")).filter(|shell| shell.exists())
}

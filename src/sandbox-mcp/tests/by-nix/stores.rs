//! What goes wrong with the store itself. Each server has one of its own: this machine's, with all changes kept in memory.

use std::fs;
use std::process::{Command, Output};

use libtest_mimic::Failed;
use serde_json::json;
use tempfile::TempDir;

use crate::{command, marked, text};
use test_support::client::{Reply, Server, program};

/// A server that sees its own copy of the store.
pub struct Private {
    pub server: Server,
    /// The home, and the place where the changes are mounted.
    pub directory: TempDir,
}

/// How a server's own copy of the store is made, and the server started.
pub struct Setup<'a> {
    /// How many bytes all changes have.
    pub size: u64,
    /// The script of a shell that runs as root before the server starts. `$1` is a directory of its own.
    pub prepare: &'a str,
    /// Further lines for Nix's configuration.
    pub config: &'a str,
    pub variables: &'a [(&'a str, &'a str)],
    pub arguments: &'a [&'a str],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { size: 512 << 20, prepare: "true", config: "", variables: &[], arguments: &["--executor", "derivation"] }
    }
}

impl Private {
    /// The changes have so many bytes.
    fn start(size: u64) -> Self {
        Self::of(Setup { size, ..Setup::default() })
    }

    pub fn of(setup: Setup) -> Self {
        let Setup { size, prepare, config, variables, arguments } = setup;
        let directory = tempfile::tempdir().expect("make a directory");
        let script = format!(
            "mount -t tmpfs -o size={size} tmpfs \"$1\" && mkdir \"$1/changes\" \"$1/work\" && \
             mount -t overlay -o \"lowerdir=/nix,upperdir=$1/changes,workdir=$1/work\" overlay /nix && \
             {{ {prepare}; }} && shift && exec \"$0\" \"$@\""
        );
        let place = directory.path().join("store");
        fs::create_dir(&place).expect("make a directory");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).arg(program()).arg(&place).args(arguments);
        let inherited = std::env::var("NIX_CONFIG").unwrap_or_default();
        command.envs(variables.iter().copied()).env("NIX_CONFIG", format!("{inherited}\n{config}\n"));
        // Neither a daemon of the machine nor what other servers have rooted.
        command.env("NIX_DAEMON_SOCKET_PATH", directory.path().join("none")).env("HOME", directory.path());
        for variable in ["XDG_STATE_HOME", "XDG_CACHE_HOME", "NIX_REMOTE"] {
            command.env_remove(variable);
        }
        Self { server: Server::spawn(&mut command).greeted(), directory }
    }

    /// Runs a command where the server's store is.
    pub fn beside(&self, command: &[&str]) -> Output {
        let output = self.command_beside(command).output().expect("start nsenter");
        assert!(output.status.success(), "{command:?}: {output:?}");
        output
    }

    pub fn command_beside(&self, command: &[&str]) -> Command {
        let target = format!("--target={}", self.server.pid);
        let mut nsenter = Command::new("nsenter");
        nsenter.args([&target, "--mount"]).args(command);
        nsenter
    }

    /// The environment that a reply names.
    pub fn environment(reply: &Reply) -> &str {
        reply.field("environment").as_str().unwrap_or_else(|| panic!("no environment: {reply}"))
    }

    /// Deletes a path and all that refers to it, in use or not.
    pub fn delete(&self, path: &str) {
        let referrers = text(&self.beside(&["nix-store", "--query", "--referrers-closure", path]).stdout);
        let delete = ["nix-store", "--delete", "--ignore-liveness"];
        self.beside(&[&delete[..], &referrers.lines().collect::<Vec<_>>()].concat());
        self.beside(&["test", "!", "-e", path]);
    }

    /// Takes the environment of `shell` away with the `.drv` files that are its own; gives its path.
    pub fn without_derivations(&self) -> String {
        let first = self.server.sh("echo first");
        let environment = Self::environment(&first).to_owned();
        self.delete(&environment);
        self.paths_that_end_in("-sandbox-mcp-shell-links.drv").iter().for_each(|drv| self.delete(drv));
        assert_eq!(self.paths_that_end_in("-sandbox-mcp-shell.drv"), Vec::<String>::new());
        environment
    }

    /// Lists the paths of the store whose names end so, from the directory's entries only: a search that also looks at
    /// each path fails when another server deletes one of a call meanwhile.
    fn paths_that_end_in(&self, suffix: &str) -> Vec<String> {
        let names = text(&self.beside(&["ls", "-U", "--color=never", "/nix/store"]).stdout);
        names.lines().filter(|name| name.ends_with(suffix)).map(|name| format!("/nix/store/{name}")).collect()
    }

    pub fn assert_works(&self) {
        let reply = self.server.sh("echo works");
        assert_eq!(reply.output(), "works\n", "{reply}");
    }
}

/// Nix makes a log of each build, unless it is told not to by who is trusted, as the owner of a store is.
pub fn logless() -> Result<(), Failed> {
    for executor in ["derivation", "derivation-cli"] {
        let private = Private::of(Setup { arguments: &["--executor", executor], ..Setup::default() });
        let logs = || private.beside(&["find", "/nix/var/log/nix", "-name", "*-sandbox-mcp-run-*"]).stdout;
        let before = logs();
        let reply = private.server.sh("echo out; echo err >&2");
        assert_eq!(reply.field("executor"), executor);
        assert!(logs() == before, "{executor} has left a log");
    }
    Ok(())
}

/// Between two calls the garbage collector takes the environment, which somebody has unrooted.
pub fn collected() -> Result<(), Failed> {
    let private = Private::start(512 << 20);
    let first = private.server.sh("echo first");
    let environment = Private::environment(&first);
    private.delete(environment);
    private.assert_works();
    private.beside(&["test", "-e", environment]);
    Ok(())
}

/// The same with sandboxes of our own, of which some are ready and have mounted what was taken; and with a package.
pub fn collected_under_sandboxes() -> Result<(), Failed> {
    let private = Private::of(Setup { arguments: &["--executor", "namespace"], ..Setup::default() });
    let script = "lua -e 'print(os.getenv(\"PATH\"))' | sed 's/.*://'";
    let call = || private.server.call("shell", json!({"main_sh": script, "packages": ["lua"]}));
    let first = call();
    let package = first.output().strip_suffix("/bin\n").ok_or("the package's directory is the last")?;
    private.assert_works();
    for path in [package, Private::environment(&first)] {
        private.delete(path);
        let again = call();
        assert_eq!(again.output(), first.output(), "{path}: {again}");
        private.assert_works();
    }
    Ok(())
}

/// A receipt whose files Nix would not take as they are goes to a store that has neither them nor the environment.
pub fn replayed() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let [script, data, receipt] = ["main.sh", "data", "receipt"].map(|name| directory.path().join(name));
    fs::write(&script, marked("wc -c < data; tr '\\0' 0 < data").0)?;
    fs::write(&data, "a\0b\n")?;
    let [script, data, path] = [&script, &data, &receipt].map(|path| path.to_str().expect("a path of UTF-8"));
    let answered = command(&["run", "shell", script, data, "--executor", "namespace"]);
    assert_eq!(text(&answered.stdout), "4\na0b\n", "{answered:?}");
    let exported = command(&["show-derivation", "shell", script, data, "--export", path]);
    assert!(exported.status.success() && exported.stdout.is_empty(), "{exported:?}");

    let private = Private::start(512 << 20);
    let first = private.server.sh("echo first");
    private.delete(Private::environment(&first));
    let server = program();
    let server = server.to_str().ok_or("a path of UTF-8")?;
    let replayed = private.beside(&[server, "reproduce", path]);
    assert!(text(&replayed.stderr).ends_with(&text(&exported.stderr)), "{replayed:?}");
    let out = text(&replayed.stdout);
    let (out, told) = out.split_once('\n').ok_or("no output path")?;
    assert_eq!(told, "reproducible: both runs did the same\n");
    assert_eq!(private.beside(&["cat", &format!("{out}/stdout")]).stdout, answered.stdout);

    // Without its files, and with others.
    let drv = command(&["show-derivation", "shell", script, data]);
    fs::write(directory.path().join("bare.drv"), &drv.stdout)?;
    let bare = directory.path().join("bare.drv");
    let refused = command(&["reproduce", bare.to_str().ok_or("a path of UTF-8")?]);
    assert!(text(&refused.stderr).contains("`show-derivation --export`"), "{refused:?}");
    let mut bytes = fs::read(&receipt)?;
    let place = bytes.windows(4).position(|part| part == b"a\0b\n").ok_or("the file is not there as it is")?;
    bytes[place] = b'x';
    fs::write(&receipt, bytes)?;
    let refused = command(&["reproduce", path]);
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    assert!(text(&refused.stderr).contains("its files are not those of the call"), "{refused:?}");
    Ok(())
}

pub fn read_only() -> Result<(), Failed> {
    let private = Private::start(256 << 20);
    private.assert_works();
    // A mount on top of it: the one below is busy as long as a daemon has its database open.
    private.beside(&["sh", "-c", "mount --bind /nix /nix && mount -o remount,bind,ro /nix"]);
    let reply = private.server.sh("echo out");
    let refusal = reply.refusal();
    assert!(refusal.to_lowercase().contains("read-only"), "{refusal}");
    private.beside(&["umount", "--lazy", "/nix"]);
    private.assert_works();
    Ok(())
}

pub fn full() -> Result<(), Failed> {
    let private = Private::start(256 << 20);
    private.assert_works();
    let filler = private.directory.path().join("store/filler");
    let fill = "head -c 300000000 /dev/zero > \"$0\"; test -s \"$0\"";
    private.beside(&["sh", "-c", fill, filler.to_str().ok_or("a path of UTF-8")?]);
    let reply = private.server.sh("echo out");
    let refusal = reply.refusal();
    assert!(refusal.contains("the disk that holds /nix/store is full"), "{refusal}");
    private.beside(&["rm", filler.to_str().ok_or("a path of UTF-8")?]);
    private.assert_works();
    Ok(())
}

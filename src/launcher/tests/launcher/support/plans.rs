//! Plans that show this machine's programs.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox_plan::{Call, Namespace, Plan, Program, Resource, SandboxEnvironment, Step, Watch};

use super::TestCaller;

impl TestCaller {
    /// Makes the plan of a sandbox with all namespaces, this machine's programs, and `/sandbox` to work in.
    pub fn plan(&self, script: &str) -> Plan {
        let directory = |target: &str, mode| Step::Tmpfs {
            target: target.into(),
            size: 32 << 20,
            inodes: 1000,
            mode,
            owned: mode == 0o755,
        };
        let mut view = vec![Step::Tmpfs { target: "/".into(), size: 1 << 20, inodes: 1000, mode: 0o755, owned: false }];
        view.extend(host_programs());
        view.push(Step::Proc { target: "/proc".into() });
        view.extend(
            ["null", "zero", "full", "random", "urandom", "tty"]
                .map(|name| Step::Device { path: Path::new("/dev").join(name) }),
        );
        view.push(Step::Symlink { path: "/dev/fd".into(), target: "/proc/self/fd".into() });
        view.extend(["/tmp", "/sandbox"].map(|path| Step::Directory { path: path.into(), mode: 0o755, owned: false }));
        view.push(Step::PivotRoot);
        let sandbox = vec![
            directory("/tmp", 0o1777),
            directory("/sandbox", 0o755),
            Step::Proc { target: "/proc".into() },
            Step::Hostname { name: "sandbox".to_owned() },
            Step::Loopback,
        ];
        let walls =
            vec![Step::Limit { resource: Resource::CoreSize, value: 0 }, Step::DropPrivileges, Step::NoNewPrivileges];
        use Namespace::*;
        Plan {
            environment: SandboxEnvironment {
                namespaces: vec![User, Mount, Pid, Network, Ipc, Uts, Cgroup],
                identity: self.identity(),
                view,
                sandbox,
                walls,
                cgroups: Vec::new(),
                watch: Watch::default(),
                ahead: None,
                handed_over: Vec::new(),
            },
            call: Call {
                steps: vec![Step::ReadOnly { target: "/".into() }],
                services: Vec::new(),
                program: Some(program(script, "/sandbox")),
                deadline: Duration::from_secs(20),
            },
        }
    }

    /// Makes the same without any namespace: Landlock shows this machine's programs and `directory`.
    pub fn direct_plan(&self, script: &str, directory: &Path) -> Plan {
        let exists = |paths: &[&str]| paths.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
        let walls = vec![
            Step::DropPrivileges,
            Step::NoNewPrivileges,
            Step::Landlock {
                read: exists(&["/usr", "/bin", "/sbin", "/lib", "/lib64", "/nix/store", "/proc", "/etc/ld.so.cache"]),
                write: vec![directory.to_owned(), "/dev/null".into()],
                scoped: true,
                required: true,
            },
        ];
        Plan {
            environment: SandboxEnvironment {
                namespaces: Vec::new(),
                identity: self.identity(),
                view: Vec::new(),
                sandbox: Vec::new(),
                walls,
                cgroups: Vec::new(),
                watch: Watch::default(),
                ahead: None,
                handed_over: Vec::new(),
            },
            call: Call {
                steps: Vec::new(),
                services: Vec::new(),
                program: Some(program(script, directory)),
                deadline: Duration::from_secs(20),
            },
        }
    }
}

/// Changes to a plan that tests like to make.
pub trait Change {
    fn program(&mut self) -> &mut Program;
    fn within(self, deadline: Duration) -> Self;
}

impl Change for Plan {
    fn program(&mut self) -> &mut Program {
        self.call.program.as_mut().expect("the plan has a program")
    }

    fn within(mut self, deadline: Duration) -> Self {
        self.call.deadline = deadline;
        self
    }
}

/// Returns a directory of programs that every sandbox shows, read-only.
pub fn programs() -> &'static str {
    if Path::new("/usr").is_dir() { "/usr" } else { "/nix/store" }
}

/// Returns steps that show `/usr`, and the links or directories at the root that belong to it.
pub fn host_programs() -> Vec<Step> {
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/nix/store"]
        .into_iter()
        .filter_map(|path| {
            let path = PathBuf::from(path);
            match path.read_link() {
                Ok(target) => Some(Step::Symlink { path, target }),
                Err(_) if path.is_dir() => Some(Step::Bind { source: path.clone(), target: path }),
                Err(_) => None,
            }
        })
        .collect()
}

pub fn program(script: &str, directory: impl Into<PathBuf>) -> Program {
    let path =
        if Path::new("/usr/bin/env").exists() { "/usr/bin:/bin".to_owned() } else { env::var("PATH").expect("PATH") };
    Program {
        arguments: ["sh", "-c", script].map(str::to_owned).into(),
        variables: vec![("PATH".to_owned(), path), ("LANG".to_owned(), "C".to_owned())],
        directory: directory.into(),
        input: Vec::new(),
    }
}

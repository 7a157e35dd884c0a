//! Tests of plans without namespaces, as data.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sandbox_plan::{Plan, Resource, Step};

use super::{Filter, HostSetup, confined, filter};
use crate::call::definition::Sandbox;
use crate::call::file::File;
use crate::call::job::Job;
use crate::call::tool::Tool;
use crate::sandbox::launch::Controls;
use crate::sandbox::view::{Bind, Link, Origin, View};
use sandbox_plan::landlock::Landlock;

fn host_setup() -> HostSetup<'static> {
    static CONTROLS: LazyLock<Controls> = LazyLock::new(|| Controls::unavailable("a test"));
    let (directory, landlock) = (Path::new("/private"), Some(Landlock(6)));
    HostSetup { directory, controls: &CONTROLS, landlock, seccomp: true, processes: 500 }
}

fn plan(tool: &str, host_setup: &HostSetup) -> Plan {
    plan_of(&Tool::by_name(tool).unwrap().sandbox, host_setup)
}

fn plan_of(sandbox: &'static Sandbox, host_setup: &HostSetup) -> Plan {
    let view = View {
        origin: Origin::Host,
        binds: vec![Bind::in_place("/usr"), Bind::in_place("/tmp/toolchain")],
        links: vec![Link::new("/bin", "usr/bin"), Link::new("/run/host/bin/python", "/usr/bin/python3")],
        path: "/run/host/bin:/tmp/toolchain/bin:/usr/bin".to_owned(),
        ..View::empty()
    };
    let file = File::parse("a/b.txt", "content".to_owned()).unwrap();
    confined(&Job::new(sandbox, vec![file]), &view, host_setup)
}

/// Returns the readable and the writable paths.
fn landlock(plan: &Plan) -> Option<(&[PathBuf], &[PathBuf])> {
    plan.environment.walls.iter().find_map(|step| match step {
        Step::Landlock { read, write, scoped: true, required: true } => Some((&**read, &**write)),
        _ => None,
    })
}

#[test]
fn only_sandbox_paths_are_mapped_to_the_private_directory() {
    let plan = plan("python", &host_setup());
    let program = plan.call.program.as_ref().unwrap();
    let variable = |name: &str| &*program.variables.iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!(program.directory, Path::new("/private/sandbox"));
    assert_eq!((variable("HOME"), variable("PWD")), ("/private/sandbox", "/private/sandbox"));
    assert_eq!((variable("TMPDIR"), variable("MPLCONFIGDIR")), ("/private/tmp", "/private/tmp"));
    assert_eq!(variable("PATH"), "/private/bin:/tmp/toolchain/bin:/usr/bin");
    let links: Vec<&Step> =
        plan.environment.sandbox.iter().filter(|step| matches!(step, Step::Symlink { .. })).collect();
    assert_eq!(
        links,
        [&Step::Symlink { path: "/private/bin/python".into(), target: "/usr/bin/python3".into() }],
        "links of the host exist already"
    );
    let is_file =
        |step: &&Step| matches!(step, Step::File { path, .. } if path == Path::new("/private/sandbox/a/b.txt"));
    assert_eq!(plan.environment.sandbox.iter().filter(is_file).count(), 1);
    let go = self::plan("go", &host_setup());
    assert_eq!(go.call.program.unwrap().directory, Path::new("/private/sandbox/src"));
}

#[test]
fn home_is_writable_unless_read_only_and_the_view_never() {
    for is_read_only in [false, true] {
        let sandbox = Sandbox { read_only: is_read_only, ..Tool::by_name("python").unwrap().sandbox };
        let plan = plan_of(Box::leak(Box::new(sandbox)), &host_setup());
        let (read, write) = landlock(&plan).unwrap();
        let home = PathBuf::from("/private/sandbox");
        assert_eq!((read.contains(&home), write.contains(&home)), (is_read_only, !is_read_only));
        assert!(write.iter().all(|path| path.starts_with("/private") || path.starts_with("/dev")), "{write:?}");
        assert!(read.contains(&"/usr".into()) && read.contains(&"/tmp/toolchain".into()));
        assert!(!read.iter().any(|path| [Path::new("/proc"), Path::new("/etc"), Path::new("/dev")].contains(&&**path)));
    }
}

#[test]
fn available_walls_are_the_last_steps() {
    let walls = |host_setup: &HostSetup| -> Vec<&'static str> {
        let name = |step: &Step| match step {
            Step::NoNewPrivileges => Some("no_new_privs"),
            Step::DropPrivileges => Some("user"),
            Step::Landlock { .. } => Some("landlock"),
            Step::Seccomp { .. } => Some("seccomp"),
            _ => None,
        };
        let environment = plan("python", host_setup).environment;
        assert!(environment.namespaces.is_empty() && environment.view.is_empty());
        let names: Vec<_> = environment.walls.iter().map(name).collect();
        let first = names.iter().position(Option::is_some).unwrap();
        names[first..].iter().map(|name| name.expect("nothing comes between walls")).collect()
    };
    assert_eq!(walls(&host_setup()), ["no_new_privs", "user", "landlock", "seccomp"]);
    assert_eq!(walls(&HostSetup { landlock: None, seccomp: false, ..host_setup() }), ["no_new_privs", "user"]);
}

#[test]
fn process_limit_excludes_other_processes_of_the_user() {
    let plan = plan("python", &host_setup());
    let limit = |of: Resource| {
        plan.environment.walls.iter().find_map(|step| match step {
            Step::Limit { resource, value } if *resource == of => Some(*value),
            _ => None,
        })
    };
    let resources = Tool::by_name("python").unwrap().sandbox.resources;
    assert_eq!(limit(Resource::Processes), Some(resources.processes + 500));
    assert_eq!(limit(Resource::FileSize), Some(resources.memory_mb << 20), "no tmpfs limits the size of files");
}

#[test]
fn filter_blocks_more_with_older_landlock_versions() {
    let length = |landlock: Option<u32>| filter(Filter { landlock: landlock.map(Landlock), ..Filter::STRICTEST }).len();
    let lengths = [Some(6), Some(3), Some(2), None].map(length);
    assert!(lengths[0] < lengths[1] && lengths[1] < lengths[2] && lengths[2] == lengths[3], "{lengths:?}");
}

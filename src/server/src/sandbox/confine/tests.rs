//! What a plan without namespaces holds, before anything is done.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sandbox_plan::{Plan, Resource, Step};

use super::{Filter, Ground, confined, filter};
use crate::call::file::File;
use crate::call::job::Job;
use crate::call::tool::Tool;
use crate::sandbox::launch::Controls;
use crate::sandbox::view::{Bind, Link, Origin, View};
use sandbox_plan::landlock::Landlock;

fn ground() -> Ground<'static> {
    static CONTROLS: LazyLock<Controls> = LazyLock::new(|| Controls::none("a test"));
    let (directory, landlock) = (Path::new("/private"), Some(Landlock(6)));
    Ground { directory, controls: &CONTROLS, landlock, seccomp: true, processes: 500 }
}

fn plan(tool: &str, ground: &Ground) -> Plan {
    let sandbox = &Tool::by_name(tool).unwrap().sandbox;
    let view = View {
        origin: Origin::Host,
        binds: vec![Bind::in_place("/usr"), Bind::in_place("/tmp/toolchain")],
        links: vec![Link::new("/bin", "usr/bin"), Link::new("/run/host/bin/python", "/usr/bin/python3")],
        path: "/run/host/bin:/tmp/toolchain/bin:/usr/bin".to_owned(),
        ..View::empty()
    };
    let file = File::parse("a/b.txt", "content".to_owned()).unwrap();
    confined(&Job::new(sandbox, vec![file]), &view, ground)
}

/// What can be read, and what can be written.
fn landlock(plan: &Plan) -> Option<(&[PathBuf], &[PathBuf])> {
    plan.environment.walls.iter().find_map(|step| match step {
        Step::Landlock { read, write, scoped: true, required: true } => Some((&**read, &**write)),
        _ => None,
    })
}

#[test]
fn paths_of_the_sandbox_are_in_the_private_directory_and_those_of_the_host_stay() {
    let plan = plan("python", &ground());
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
        "links of the host are there already"
    );
    let is_file =
        |step: &&Step| matches!(step, Step::File { path, .. } if path == Path::new("/private/sandbox/a/b.txt"));
    assert_eq!(plan.environment.sandbox.iter().filter(is_file).count(), 1);
    let go = self::plan("go", &ground());
    assert_eq!(go.call.program.unwrap().directory, Path::new("/private/sandbox/src"));
}

#[test]
fn the_private_directory_can_be_written_unless_the_sandbox_is_read_only_and_the_view_never() {
    for (tool, is_read_only) in [("python", false), ("shell", true)] {
        let plan = plan(tool, &ground());
        let (read, write) = landlock(&plan).unwrap();
        let home = PathBuf::from("/private/sandbox");
        assert_eq!((read.contains(&home), write.contains(&home)), (is_read_only, !is_read_only));
        assert!(write.iter().all(|path| path.starts_with("/private") || path.starts_with("/dev")), "{write:?}");
        assert!(read.contains(&"/usr".into()) && read.contains(&"/tmp/toolchain".into()));
        assert!(!read.iter().any(|path| [Path::new("/proc"), Path::new("/etc"), Path::new("/dev")].contains(&&**path)));
    }
}

#[test]
fn walls_that_the_machine_has_are_put_up_last_and_others_not_at_all() {
    let walls = |ground: &Ground| -> Vec<&'static str> {
        let name = |step: &Step| match step {
            Step::NoNewPrivileges => Some("no_new_privs"),
            Step::DropPrivileges => Some("user"),
            Step::Landlock { .. } => Some("landlock"),
            Step::Seccomp { .. } => Some("seccomp"),
            _ => None,
        };
        let environment = plan("python", ground).environment;
        assert!(environment.namespaces.is_empty() && environment.view.is_empty());
        let names: Vec<_> = environment.walls.iter().map(name).collect();
        let first = names.iter().position(Option::is_some).unwrap();
        names[first..].iter().map(|name| name.expect("nothing comes between walls")).collect()
    };
    assert_eq!(walls(&ground()), ["no_new_privs", "user", "landlock", "seccomp"]);
    assert_eq!(walls(&Ground { landlock: None, seccomp: false, ..ground() }), ["no_new_privs", "user"]);
}

#[test]
fn the_users_other_processes_are_not_counted_against_the_program() {
    let plan = plan("python", &ground());
    let limit = |of: Resource| {
        plan.environment.walls.iter().find_map(|step| match step {
            Step::Limit { resource, value } if *resource == of => Some(*value),
            _ => None,
        })
    };
    let resources = Tool::by_name("python").unwrap().sandbox.resources;
    assert_eq!(limit(Resource::Processes), Some(resources.processes + 500));
    assert_eq!(limit(Resource::FileSize), Some(resources.memory_mb << 20), "no tmpfs bounds what is written");
}

#[test]
fn what_landlock_does_not_guard_yet_the_filter_does() {
    let length = |landlock: Option<u32>| filter(Filter { landlock: landlock.map(Landlock), ..Filter::STRICTEST }).len();
    let lengths = [Some(6), Some(3), Some(2), None].map(length);
    assert!(lengths[0] < lengths[1] && lengths[1] < lengths[2] && lengths[2] == lengths[3], "{lengths:?}");
}

//! Tests with directories as a hostile program would leave them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags};
use tempfile::TempDir;

use super::*;

use super::image::tests::png_of;

/// Makes a directory, in a tmpfs if this machine has one, as in a sandbox.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory can be made")
}

fn collected(directory: &Path, caps: &Caps) -> Artifacts {
    collect(File::open(directory).unwrap().into(), caps).unwrap()
}

fn names(artifacts: &Artifacts) -> Vec<String> {
    artifacts.files.iter().map(Artifact::name).collect()
}

/// Returns the names of the files that were left out, each with the reason.
fn left_out(artifacts: &Artifacts) -> Vec<(String, Reason)> {
    artifacts.left_out.iter().map(|file| (file.name(), file.reason.clone())).collect()
}

fn no_file(kind: &'static str) -> Reason {
    Reason::NoFile { kind }
}

#[test]
fn empty_directory_gives_nothing() {
    let out = directory();
    fs::create_dir_all(out.path().join("a/b")).unwrap();
    assert_eq!(collected(out.path(), &CAPS), Artifacts::default());
}

#[test]
fn files_are_sorted_by_name_before_those_of_subdirectories() {
    let out = directory();
    for directory in ["b", "b/a", "d"] {
        fs::create_dir(out.path().join(directory)).unwrap();
    }
    for name in ["z.txt", "a.txt", "b/2", "b/1", "b/a/1", "d/0", "B.txt"] {
        fs::write(out.path().join(name), name).unwrap();
    }
    let artifacts = collected(out.path(), &CAPS);
    assert_eq!(names(&artifacts), ["B.txt", "a.txt", "z.txt", "b/1", "b/2", "b/a/1", "d/0"]);
    assert!(artifacts.files.iter().all(|file| file.content == file.name().as_bytes() && file.kind.is_text()));
}

#[test]
fn directory_opened_as_a_path_is_read_as_well() {
    let out = directory();
    fs::write(out.path().join("a"), "a").unwrap();
    let named = rustix::fs::open(out.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert_eq!(names(&collect(named, &CAPS).unwrap()), ["a"]);
}

#[test]
fn descriptor_of_no_directory_is_an_error() {
    let error = collect(File::open("/dev/null").unwrap().into(), &CAPS).unwrap_err();
    assert_eq!(error.cause.raw_os_error(), Some(20));
}

#[test]
fn links_are_named_and_not_followed_wherever_they_lead() {
    let (out, secret) = (directory(), directory());
    fs::write(secret.path().join("secret"), "secret").unwrap();
    fs::write(out.path().join("real"), "real").unwrap();
    let above = format!("../{}/secret", secret.path().file_name().unwrap().display());
    for (name, target) in [
        ("above", above.as_str()),
        ("absolute", "/etc/passwd"),
        ("directory", secret.path().to_str().unwrap()),
        ("itself", "itself"),
        ("magic", "/proc/self/environ"),
        ("own", "real"),
        ("parent", ".."),
    ] {
        symlink(target, out.path().join(name)).unwrap();
    }
    let artifacts = collected(out.path(), &CAPS);
    assert_eq!(names(&artifacts), ["real"]);
    let links = ["above", "absolute", "directory", "itself", "magic", "own", "parent"];
    assert_eq!(left_out(&artifacts), links.map(|name| (name.to_owned(), no_file("a symbolic link"))));
}

#[test]
fn fifos_and_sockets_are_named_and_not_waited_for() {
    let out = directory();
    rustix::fs::mknodat(CWD, out.path().join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(out.path().join("socket")).unwrap();
    let expected = [("fifo".to_owned(), no_file("a FIFO")), ("socket".to_owned(), no_file("a socket"))];
    assert_eq!(left_out(&collected(out.path(), &CAPS)), expected);
}

#[test]
fn devices_are_named_and_not_opened() {
    let out = directory();
    let device = out.path().join("zero");
    // Only root may make one.
    if rustix::fs::mknodat(CWD, &device, FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 5)).is_ok() {
        assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
        assert_eq!(left_out(&collected(out.path(), &CAPS)), [("zero".to_owned(), no_file("a device"))]);
    }
}

#[test]
fn each_hard_link_is_a_file() {
    let out = directory();
    fs::write(out.path().join("a"), "same").unwrap();
    fs::hard_link(out.path().join("a"), out.path().join("b")).unwrap();
    assert_eq!(names(&collected(out.path(), &CAPS)), ["a", "b"]);
}

#[test]
fn file_of_another_user_is_named_and_not_read() {
    let out = directory();
    fs::write(out.path().join("own"), "own").unwrap();
    fs::write(out.path().join("other"), "secret").unwrap();
    // Only root may give a file away.
    if std::os::unix::fs::chown(out.path().join("other"), Some(4711), None).is_ok() {
        let artifacts = collected(out.path(), &CAPS);
        assert_eq!(names(&artifacts), ["own"]);
        assert_eq!(left_out(&artifacts), [("other".to_owned(), Reason::Foreign)]);
    }
}

#[test]
fn file_without_permissions_does_not_hide_the_others() {
    let out = directory();
    for name in ["a", "b"] {
        fs::write(out.path().join(name), name).unwrap();
    }
    fs::create_dir(out.path().join("c")).unwrap();
    for name in ["a", "c"] {
        fs::set_permissions(out.path().join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let artifacts = collected(out.path(), &CAPS);
    if rustix::process::geteuid().is_root() {
        assert_eq!(names(&artifacts), ["a", "b"]);
    } else {
        assert_eq!(names(&artifacts), ["b"]);
        let error = "Permission denied (os error 13)".to_owned();
        let reason = Reason::Unreadable { error };
        assert_eq!(left_out(&artifacts), [("a".to_owned(), reason.clone()), ("c".to_owned(), reason)]);
    }
    fs::set_permissions(out.path().join("c"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn hostile_names_are_shown_escaped_and_in_order() {
    let out = directory();
    for name in [&b"new\nline"[..], b"\xff\xfe", b"\x1b[2J", b"-rf", b"...", b" "] {
        fs::write(out.path().join(OsStr::from_bytes(name)), "").unwrap();
    }
    assert_eq!(names(&collected(out.path(), &CAPS)), [r"\u{1b}[2J", " ", "-rf", "...", r"new\nline", r"\xff\xfe"]);
}

#[test]
fn ten_thousand_files_are_returned_up_to_the_limit() {
    let out = directory();
    for number in 0..10_000 {
        fs::write(out.path().join(format!("{number:05}")), "x").unwrap();
    }
    let artifacts = collected(out.path(), &CAPS);
    assert_eq!(names(&artifacts), (0..CAPS.files).map(|number| format!("{number:05}")).collect::<Vec<_>>());
    assert_eq!(artifacts.left_out.len(), CAPS.named);
    assert!(artifacts.left_out.iter().all(|file| file.reason == Reason::Files { most: CAPS.files }));
    assert_eq!(artifacts.left_out[0].name(), format!("{:05}", CAPS.files));
    assert_eq!(artifacts.not_named as usize, 10_000 - CAPS.files - CAPS.named);
}

#[test]
fn directory_of_too_many_entries_is_reported() {
    let out = directory();
    fs::create_dir(out.path().join("d")).unwrap();
    for number in 0..9 {
        fs::write(out.path().join(format!("d/{number}")), "x").unwrap();
    }
    let artifacts = collected(out.path(), &Caps { entries: 6, ..CAPS });
    assert_eq!(artifacts.files.len(), 5);
    assert_eq!(left_out(&artifacts), [("d".to_owned(), Reason::Entries { most: 6 })]);
}

#[test]
fn directories_nested_too_deeply_are_left_out() {
    let out = directory();
    let mut deep = out.path().to_owned();
    for _ in 0..300 {
        deep.push("d");
        fs::create_dir(&deep).unwrap();
    }
    fs::write(deep.join("file"), "").unwrap();
    let artifacts = collected(out.path(), &CAPS);
    assert_eq!(names(&artifacts), Vec::<String>::new());
    assert_eq!(left_out(&artifacts), [(["d"; CAPS.depth].join("/"), Reason::TooDeep { most: CAPS.depth })]);
}

#[test]
fn file_of_a_terabyte_is_named_with_its_size_and_not_read() {
    let out = directory();
    let size = 1 << 40;
    File::create(out.path().join("sparse")).unwrap().set_len(size).unwrap();
    let artifacts = collected(out.path(), &CAPS);
    assert_eq!(artifacts.left_out[0].size, Some(size));
    assert_eq!(left_out(&artifacts), [("sparse".to_owned(), Reason::TooLarge { most: CAPS.other })]);
}

#[test]
fn each_kind_of_file_has_its_own_size_limit() {
    let out = directory();
    let caps = Caps { image: 80, text: 10, other: 20, ..CAPS };
    let image = |size: usize| png_of(1, 1, size - 57);
    for (name, content) in [
        ("image.80", image(80)),
        ("image.81", image(81)),
        ("image.no", [&image(81)[..50], b"x"].concat()),
        ("other.20", vec![0; 20]),
        ("other.21", vec![0; 21]),
        ("text.10", vec![b'x'; 10]),
        ("text.11", vec![b'x'; 11]),
    ] {
        fs::write(out.path().join(name), content).unwrap();
    }
    let artifacts = collected(out.path(), &caps);
    assert_eq!(names(&artifacts), ["image.80", "other.20", "text.10"]);
    let beyond = |name: &str, most| (name.to_owned(), Reason::TooLarge { most });
    let expected = [beyond("image.81", 80), beyond("image.no", 20), beyond("other.21", 20), beyond("text.11", 10)];
    assert_eq!(left_out(&artifacts), expected);
}

#[test]
fn broken_image_has_the_size_limit_of_a_text() {
    let out = directory();
    let caps = Caps { text: 40, texts: 50, ..CAPS };
    for (name, length) in [("1", 40), ("2", 41), ("3", 20)] {
        fs::write(out.path().join(name), format!("GIF89a{}", "x".repeat(length - 6))).unwrap();
    }
    let artifacts = collected(out.path(), &caps);
    assert_eq!((names(&artifacts), artifacts.files[0].kind.is_text()), (vec!["1".to_owned()], true));
    let expected = [("2".to_owned(), Reason::TooLarge { most: 40 }), ("3".to_owned(), Reason::Together { most: 50 })];
    assert_eq!(left_out(&artifacts), expected);
}

#[test]
fn images_up_to_8000_pixels_are_returned_20_at_most() {
    let out = directory();
    for (name, width, height) in [("wide", 8001, 1), ("high", 1, 8001), ("huge", 20_000, 20_000), ("most", 8000, 8000)]
    {
        fs::write(out.path().join(name), png_of(width, height, 2)).unwrap();
    }
    for number in 1..=21 {
        fs::write(out.path().join(format!("p-{number}.png")), png_of(2, 2, 2)).unwrap();
    }
    fs::write(out.path().join("text"), "x").unwrap();
    let artifacts = collected(out.path(), &CAPS);
    let returned = (1..20).map(|number| format!("p-{number}.png"));
    let expected: Vec<String> = ["most".to_owned()].into_iter().chain(returned).chain(["text".to_owned()]).collect();
    assert_eq!(names(&artifacts), expected);
    let pixels = |name: &str| (name.to_owned(), Reason::Pixels { most: 8000 });
    let images = |name: &str| (name.to_owned(), Reason::Images { most: 20 });
    let expected = [pixels("high"), pixels("huge"), images("p-20.png"), images("p-21.png"), pixels("wide")];
    assert_eq!(left_out(&artifacts), expected);
    assert!(Reason::Pixels { most: 8000 }.to_string().contains("more than 8000 pixels"));
}

#[test]
fn all_files_and_all_texts_have_total_size_limits() {
    let out = directory();
    let caps = Caps { text: 10, other: 10, texts: 15, total: 30, ..CAPS };
    for (name, content) in [
        ("1", vec![b'x'; 10]),
        ("2", vec![b'x'; 10]),
        ("3", vec![b'x'; 5]),
        ("4", vec![0; 10]),
        ("5", vec![0; 10]),
        ("6", vec![0; 5]),
        ("7", vec![0; 11]),
        ("8", vec![]),
    ] {
        fs::write(out.path().join(name), content).unwrap();
    }
    let artifacts = collected(out.path(), &caps);
    assert_eq!(names(&artifacts), ["1", "3", "4", "6", "8"]);
    let expected = [
        ("2".to_owned(), Reason::Together { most: 15 }),
        ("5".to_owned(), Reason::Together { most: 30 }),
        ("7".to_owned(), Reason::TooLarge { most: 10 }),
    ];
    assert_eq!(left_out(&artifacts), expected);
}

/// Repeats an action for as long as `f` runs, even if `f` panics.
fn meanwhile<T>(again: impl Fn() + Sync, f: impl FnOnce() -> T) -> T {
    struct Over<'flag>(&'flag AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let flag = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !flag.load(Ordering::Relaxed) {
                again();
            }
        });
        let _over = Over(&flag);
        f()
    })
}

#[test]
fn file_that_grows_while_it_is_read_stays_within_its_limit() {
    let out = directory();
    let path = out.path().join("log");
    let caps = Caps { text: 40_000, ..CAPS };
    let grow = || {
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        if file.metadata().unwrap().len() > 100_000 {
            file.set_len(0).unwrap();
        }
        file.write_all(&[b'x'; 999]).unwrap();
    };
    let (mut returned, mut refused) = (0, 0);
    meanwhile(grow, || {
        while returned < 100 || refused < 100 {
            let artifacts = collected(out.path(), &caps);
            match artifacts.files.first() {
                Some(file) => {
                    assert!(file.size() <= caps.text);
                    returned += 1;
                }
                None => refused += artifacts.left_out.len(),
            }
        }
    });
}

#[test]
fn path_that_alternates_with_a_link_is_never_followed() {
    let (out, secrets) = (directory(), directory());
    fs::write(secrets.path().join("file"), "secret").unwrap();
    let path = |name: &str| out.path().join(name);
    fs::create_dir(path("directory")).unwrap();
    fs::write(path("directory/file"), "own").unwrap();
    fs::write(path("file"), "own").unwrap();
    symlink(secrets.path(), path("link-1")).unwrap();
    symlink(secrets.path().join("file"), path("link-2")).unwrap();
    let swap = || {
        for (a, b) in [("directory", "link-1"), ("file", "link-2")] {
            rustix::fs::renameat_with(CWD, path(a), CWD, path(b), RenameFlags::EXCHANGE).unwrap();
        }
    };
    // How often a link was found where the listing or a status had shown a file, and how often a file.
    let (mut links, mut files) = (0, 0);
    meanwhile(swap, || {
        for _ in 0..3000 {
            let artifacts = collected(out.path(), &CAPS);
            assert!(artifacts.files.iter().all(|file| file.content == b"own"), "{artifacts:?}");
            links += artifacts.left_out.iter().filter(|file| file.reason == no_file("a symbolic link")).count();
            files += artifacts.files.len();
        }
    });
    assert!(links > 0 && files > 0);
}

#[test]
fn directory_that_moves_while_it_is_read_is_not_left() {
    let (out, elsewhere) = (directory(), directory());
    fs::create_dir_all(out.path().join("a/b/c")).unwrap();
    fs::write(out.path().join("a/b/c/file"), "own").unwrap();
    fs::write(elsewhere.path().join("file"), "secret").unwrap();
    // This is what a leftover process with a descriptor of another directory could do.
    let swap = || {
        fs::rename(out.path().join("a/b"), elsewhere.path().join("b")).unwrap();
        fs::rename(elsewhere.path().join("b"), out.path().join("a/b")).unwrap();
    };
    meanwhile(swap, || {
        for _ in 0..1000 {
            let artifacts = collected(out.path(), &CAPS);
            assert!(artifacts.files.iter().all(|file| file.content == b"own"), "{artifacts:?}");
        }
    });
}

#[tokio::test]
async fn unlistable_directory_is_reported_and_no_error() {
    let gathered = gather(File::open("/dev/null").unwrap().into()).await;
    assert!(gathered.files.is_empty());
    assert_eq!(gathered.left_out[0].name(), ".");
    assert!(matches!(&gathered.left_out[0].reason, Reason::Unreadable { error } if error.contains("open")));
}

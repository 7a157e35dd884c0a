//! What /proc and /sys say about processors, for a sandbox that has fewer than the machine.
//!
//! The C library counts the lines of /proc/stat where there is no /sys, and so do Python's `os.cpu_count`, Node's
//! `os.cpus` and others that do not ask for the affinity.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

/// The texts of the files, when they were first asked for.
static OF_THIS_MACHINE: LazyLock<ProcessorFiles> = LazyLock::new(|| {
    let read = |path| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    ProcessorFiles { cpuinfo: read("/proc/cpuinfo"), stat: read("/proc/stat"), sys: Vec::new() }
});

/// The texts for a number of processors: every call has a plan, and a large machine has long texts.
static CUT: Mutex<BTreeMap<usize, ProcessorFiles>> = Mutex::new(BTreeMap::new());

/// The directory of /sys that describes processors: lscpu needs it, which joblib asks for the number of cores.
const SYS: &str = "/sys/devices/system/cpu";
/// How many processors have files of their own there. They are kept in memory, a page each.
const MAX_DESCRIBED: usize = 64;
/// Bits of a processor mask that the kernel writes between two commas.
const MASK_BITS: usize = 32;

/// The texts of /proc/cpuinfo and /proc/stat, and of files below /sys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessorFiles {
    pub cpuinfo: String,
    pub stat: String,
    pub sys: Vec<(PathBuf, String)>,
}

impl ProcessorFiles {
    /// Returns what this machine's files would say if it had as many processors as a sandbox with a share of `cpu`.
    /// A file is empty if it can't be read.
    pub fn of_this_machine(cpu: u32) -> Self {
        let allowed = rustix::thread::sched_getaffinity(None).map_or(u32::MAX, |processors| processors.count());
        let count = cpu.min(allowed).max(1) as usize;
        let mut cut = CUT.lock().unwrap_or_else(PoisonError::into_inner);
        cut.entry(count).or_insert_with(|| OF_THIS_MACHINE.cut(count)).clone()
    }

    fn cut(&self, count: usize) -> Self {
        Self { cpuinfo: cut_cpuinfo(&self.cpuinfo, count), stat: cut_stat(&self.stat, count), sys: sys(count) }
    }
}

/// Returns the files below /sys of `count` processors, each of which is a core, and all of which are in one package.
fn sys(count: usize) -> Vec<(PathBuf, String)> {
    let directory = Path::new(SYS);
    let all = if count == 1 { "0\n".to_owned() } else { format!("0-{}\n", count - 1) };
    let mut files: Vec<_> = ["online", "possible", "present"].map(|name| (directory.join(name), all.clone())).into();
    for index in 0..if count <= MAX_DESCRIBED { count } else { 0 } {
        let topology = directory.join(format!("cpu{index}/topology"));
        let own = |processor: usize| processor == index;
        files.extend(
            [
                ("core_id", format!("{index}\n")),
                ("core_siblings", mask(count, |_| true)),
                ("physical_package_id", "0\n".to_owned()),
                ("thread_siblings", mask(count, own)),
            ]
            .map(|(name, text)| (topology.join(name), text)),
        );
    }
    files
}

/// Returns a mask of processors as the kernel writes it: groups of hexadecimal digits, the last processors first.
fn mask(count: usize, is_set: impl Fn(usize) -> bool) -> String {
    let group = |start: usize| {
        let bits = (start..(start + MASK_BITS).min(count)).filter(|processor| is_set(*processor));
        format!("{:08x}", bits.fold(0u32, |mask, processor| mask | 1 << (processor - start)))
    };
    (0..count).step_by(MASK_BITS).rev().map(group).collect::<Vec<_>>().join(",") + "\n"
}

/// Keeps the first `count` processors, numbered from 0 and all in one package. What is not about one of them stays.
fn cut_cpuinfo(text: &str, count: usize) -> String {
    let is_processor = |block: &str| block.starts_with("processor");
    let blocks = || text.split("\n\n").map(|block| block.trim_matches('\n')).filter(|block| !block.is_empty());
    let processors = blocks().filter(|block| is_processor(block)).take(count);
    let count = processors.clone().count();
    let renumbered = processors.enumerate().map(|(index, block)| renumber(block, index, count));
    renumbered.chain(blocks().filter(|block| !is_processor(block)).map(|block| format!("{block}\n\n"))).collect()
}

fn renumber(block: &str, index: usize, count: usize) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some((key, _)) => match key.trim_end() {
            "processor" | "core id" | "apicid" | "initial apicid" => format!("{key}: {index}\n"),
            "siblings" | "cpu cores" => format!("{key}: {count}\n"),
            "physical id" => format!("{key}: 0\n"),
            _ => format!("{line}\n"),
        },
        None => format!("{line}\n"),
    };
    block.lines().map(line).chain(["\n".to_owned()]).collect()
}

/// Keeps the times of the first `count` processors, and of the other lines those that are not about the rest of the
/// machine.
fn cut_stat(text: &str, count: usize) -> String {
    let times = |line: &str| -> Option<Vec<u64>> {
        let (name, times) = line.split_once(' ')?;
        let number = name.strip_prefix("cpu")?;
        let is_one = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_one.then(|| times.split_whitespace().map_while(|time| time.parse().ok()).collect())
    };
    let kept: Vec<Vec<u64>> = text.lines().filter_map(times).take(count).collect();
    if kept.is_empty() {
        return String::new();
    }
    let length = kept.iter().map(Vec::len).min().unwrap_or(0);
    let sum = (0..length).map(|column| kept.iter().map(|times| times[column]).sum()).collect::<Vec<u64>>();
    let line =
        |name: String, times: &[u64]| name + &times.iter().map(|time| format!(" {time}")).collect::<String>() + "\n";
    let mut cut = line("cpu ".to_owned(), &sum);
    cut.extend(kept.iter().enumerate().map(|(index, times)| line(format!("cpu{index}"), times)));
    let boot = text.lines().filter(|line| line.starts_with("btime ")).map(|line| format!("{line}\n"));
    cut.extend(["intr 0\n".to_owned(), "ctxt 0\n".to_owned()].into_iter().chain(boot));
    cut + "processes 0\nprocs_running 1\nprocs_blocked 0\nsoftirq 0\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_processors_are_kept_and_numbered_from_zero() {
        let cpuinfo = "processor\t: 4\nmodel name\t: X: 1\nphysical id\t: 1\nsiblings\t: 8\ncore id\t\t: 3\n\n\
                       processor\t: 5\nmodel name\t: X: 1\nphysical id\t: 1\nsiblings\t: 8\ncore id\t\t: 4\n\n\
                       processor\t: 6\nmodel name\t: X: 1\n\nHardware\t: Y\n\n";
        let stat =
            "cpu  99 99 99\ncpu4 1 2 3\ncpu5 10 20 30\ncpu6 5 5 5\nintr 7 7 7\nctxt 9\nbtime 1700000000\nsoftirq 3\n";
        let files = ProcessorFiles { cpuinfo: cpuinfo.into(), stat: stat.into(), sys: Vec::new() };
        let two = files.cut(2);
        assert_eq!(
            two.cpuinfo,
            "processor\t: 0\nmodel name\t: X: 1\nphysical id\t: 0\nsiblings\t: 2\ncore id\t\t: 0\n\n\
             processor\t: 1\nmodel name\t: X: 1\nphysical id\t: 0\nsiblings\t: 2\ncore id\t\t: 1\n\nHardware\t: Y\n\n"
        );
        assert_eq!(
            two.stat,
            "cpu  11 22 33\ncpu0 1 2 3\ncpu1 10 20 30\nintr 0\nctxt 0\nbtime 1700000000\nprocesses 0\n\
             procs_running 1\nprocs_blocked 0\nsoftirq 0\n"
        );
        assert_eq!(files.cut(9).stat.matches("\ncpu").count(), 3);
        let unreadable = ProcessorFiles::default().cut(1);
        assert_eq!((&*unreadable.cpuinfo, &*unreadable.stat), ("", ""));
    }

    #[test]
    fn each_processor_is_a_core_of_one_package() {
        let text = |count, name: &str| {
            let path = Path::new(SYS).join(name);
            sys(count).into_iter().find_map(|(file, text)| (file == path).then_some(text))
        };
        for (count, name, expected) in [
            (1, "online", "0\n"),
            (1, "cpu0/topology/thread_siblings", "00000001\n"),
            (3, "possible", "0-2\n"),
            (3, "cpu2/topology/core_id", "2\n"),
            (3, "cpu2/topology/thread_siblings", "00000004\n"),
            (3, "cpu2/topology/core_siblings", "00000007\n"),
            (33, "cpu32/topology/thread_siblings", "00000001,00000000\n"),
            (33, "cpu0/topology/core_siblings", "00000001,ffffffff\n"),
            (65, "present", "0-64\n"),
        ] {
            assert_eq!(text(count, name).as_deref(), Some(expected), "{name} of {count}");
        }
        assert_eq!(text(65, "cpu0/topology/core_id"), None);
    }

    #[test]
    fn sandbox_has_no_more_processors_than_the_machine() {
        let files = ProcessorFiles::of_this_machine(100_000);
        let all = OF_THIS_MACHINE.stat.matches("\ncpu").count();
        assert!((1..=all).contains(&files.stat.matches("\ncpu").count()), "{files:?}");
        assert_eq!(ProcessorFiles::of_this_machine(1).stat.matches("\ncpu").count(), 1);
    }
}

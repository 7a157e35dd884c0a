//! What /proc says about processors, for a sandbox that has fewer than the machine.
//!
//! The C library counts the lines of /proc/stat where there is no /sys, and so do Python's `os.cpu_count`, Node's
//! `os.cpus` and others that do not ask for the affinity.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The texts of the files, when they were first asked for.
static OF_THIS_MACHINE: LazyLock<ProcessorFiles> = LazyLock::new(|| {
    let read = |path| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    ProcessorFiles { cpuinfo: read("/proc/cpuinfo"), stat: read("/proc/stat") }
});

/// The texts for a number of processors: every call has a plan, and a large machine has long texts.
static CUT: Mutex<BTreeMap<usize, ProcessorFiles>> = Mutex::new(BTreeMap::new());

/// The texts of /proc/cpuinfo and /proc/stat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessorFiles {
    pub cpuinfo: String,
    pub stat: String,
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
        Self { cpuinfo: cut_cpuinfo(&self.cpuinfo, count), stat: cut_stat(&self.stat, count) }
    }
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
        let files = ProcessorFiles { cpuinfo: cpuinfo.into(), stat: stat.into() };
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
        assert_eq!(ProcessorFiles::default().cut(1), ProcessorFiles::default());
    }

    #[test]
    fn sandbox_has_no_more_processors_than_the_machine() {
        let files = ProcessorFiles::of_this_machine(100_000);
        let all = OF_THIS_MACHINE.stat.matches("\ncpu").count();
        assert!((1..=all).contains(&files.stat.matches("\ncpu").count()), "{files:?}");
        assert_eq!(ProcessorFiles::of_this_machine(1).stat.matches("\ncpu").count(), 1);
    }
}

//! The part of the filter that depends only on the number of a system call.
//!
//! When a filter is installed, which happens in each sandbox, the kernel runs it once for each number to learn which
//! calls are always allowed. A binary search takes a few steps where a list takes a hundred.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, sock_filter};

use super::NOT_THERE;

/// The decision for the number of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    /// Refused with this error.
    Refuse(i32),
    /// The arguments decide: the filter continues behind this part.
    Ask,
}

/// The first number of x32, an ABI with numbers of its own on the same architecture.
const X32: u32 = 0x4000_0000;

/// The decisions for some numbers. All others are allowed, except that x32 is refused as missing.
pub(crate) struct Verdicts(BTreeMap<u32, Verdict>);

impl Verdicts {
    pub fn new(named: &BTreeMap<u32, Verdict>) -> Self {
        let mut starts = BTreeMap::from([(0, Verdict::Allow)]);
        for (number, answer) in named {
            starts.insert(*number, *answer);
            starts.entry(number + 1).or_insert(Verdict::Allow);
        }
        if cfg!(target_arch = "x86_64") {
            starts.insert(X32, Verdict::Refuse(NOT_THERE));
        }
        Self(starts)
    }

    /// Assembles the program, which returns a decision or continues behind its end.
    pub fn program(&self) -> BpfProgram {
        let mut ranges: Vec<(u32, Verdict)> = self.0.iter().map(|(start, answer)| (*start, *answer)).collect();
        ranges.dedup_by_key(|(_, answer)| *answer);
        let mut program = own_architecture();
        program.push(load(NUMBER));
        search(&ranges, &mut program);
        let length = program.len();
        for (index, instruction) in program.iter_mut().enumerate() {
            if instruction.code == JUMP {
                instruction.k = (length - index - 1) as u32;
            }
        }
        program
    }
}

/// Assembles a search for the last range that does not start above the number.
fn search(ranges: &[(u32, Verdict)], program: &mut BpfProgram) {
    match ranges {
        [] => unreachable!("the first range starts at 0"),
        [(_, answer)] => program.push(match answer {
            Verdict::Allow => returned(libc::SECCOMP_RET_ALLOW),
            Verdict::Refuse(errno) => returned(libc::SECCOMP_RET_ERRNO | *errno as u32),
            Verdict::Ask => instruction(JUMP, 0, 0, 0),
        }),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let branch = program.len();
            program.push(instruction(JUMP_IF_AT_LEAST, 0, 0, upper[0].0));
            search(lower, program);
            program[branch].jt = u8::try_from(program.len() - branch - 1).expect("the table is short");
            search(upper, program);
        }
    }
}

/// Kills on system calls of a foreign architecture.
fn own_architecture() -> BpfProgram {
    vec![load(ARCHITECTURE), instruction(JUMP_IF_EQUAL, 1, 0, AUDIT_ARCH), returned(libc::SECCOMP_RET_KILL_PROCESS)]
}

/// As linux/audit.h has it.
pub(crate) const AUDIT_ARCH: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };

/// The offsets of fields in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

fn load(field: u32) -> sock_filter {
    instruction(LOAD, 0, 0, field)
}

fn returned(action: u32) -> sock_filter {
    instruction(RETURN, 0, 0, action)
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

//! The part of the filter that looks at a system call's number alone.
//!
//! The kernel runs a filter once for each number when it is installed, to learn which calls are always allowed, and
//! installs one in each sandbox. A search by halves takes a few steps where a list takes a hundred.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, sock_filter};

use super::NOT_THERE;

/// What a call's number decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Allow,
    /// Refused with this error.
    Refuse(i32),
    /// The arguments decide: what stands behind this part goes on.
    Ask,
}

/// From here on are the calls of x32, which have numbers of their own on the same architecture.
const X32: u32 = 0x4000_0000;

/// The answers for some numbers, of which all others are allowed; no call of x32 is there.
pub struct Answers(BTreeMap<u32, Answer>);

impl Answers {
    pub fn new(named: &BTreeMap<u32, Answer>) -> Self {
        let mut starts = BTreeMap::from([(0, Answer::Allow)]);
        for (number, answer) in named {
            starts.insert(*number, *answer);
            starts.entry(number + 1).or_insert(Answer::Allow);
        }
        if cfg!(target_arch = "x86_64") {
            starts.insert(X32, Answer::Refuse(NOT_THERE));
        }
        Self(starts)
    }

    /// Ends with an answer, or behind its own end.
    pub fn program(&self) -> BpfProgram {
        let mut ranges: Vec<(u32, Answer)> = self.0.iter().map(|(start, answer)| (*start, *answer)).collect();
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

/// Finds the last range that does not start above the number.
fn search(ranges: &[(u32, Answer)], program: &mut BpfProgram) {
    match ranges {
        [] => unreachable!("the first range starts at 0"),
        [(_, answer)] => program.push(match answer {
            Answer::Allow => returned(libc::SECCOMP_RET_ALLOW),
            Answer::Refuse(errno) => returned(libc::SECCOMP_RET_ERRNO | *errno as u32),
            Answer::Ask => instruction(JUMP, 0, 0, 0),
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

/// What is called by other numbers kills.
fn own_architecture() -> BpfProgram {
    vec![load(ARCHITECTURE), instruction(JUMP_IF_EQUAL, 1, 0, AUDIT_ARCH), returned(libc::SECCOMP_RET_KILL_PROCESS)]
}

/// As linux/audit.h has it.
pub const AUDIT_ARCH: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };

/// Where the fields of `struct seccomp_data` stand.
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

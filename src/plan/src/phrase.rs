//! Describes steps and limits in words, for failures.

use std::fmt;

use crate::{Limit, Resource, Step};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tmpfs { target, .. } => write!(f, "mount a tmpfs at {}", target.display()),
            Self::Scratch { directories, .. } => {
                f.write_str("mount a tmpfs for ")?;
                directories.iter().enumerate().try_for_each(|(index, directory)| {
                    write!(f, "{}{}", if index > 0 { ", " } else { "" }, directory.target.display())
                })
            }
            Self::Bind { source, target } => write!(f, "bind {} at {}", source.display(), target.display()),
            Self::Proc { target } => write!(f, "mount proc at {}", target.display()),
            Self::Terminals { target, .. } => write!(f, "mount pseudo-terminals at {}", target.display()),
            Self::Mask { .. } => f.write_str("mask the proc file system"),
            Self::Setting { name, value } => write!(f, "set {name} to {value}"),
            Self::Device { path } => write!(f, "bind the device {}", path.display()),
            Self::Directory { path, .. } => write!(f, "make the directory {}", path.display()),
            Self::Symlink { path, target } => write!(f, "link {} to {}", path.display(), target.display()),
            Self::File { path, .. } => write!(f, "write {}", path.display()),
            Self::ReadOnly { target } => write!(f, "make {} read-only", target.display()),
            Self::PivotRoot => f.write_str("pivot to the sandbox's root"),
            Self::Hostname { name } => write!(f, "set the host name {name}"),
            Self::Loopback => f.write_str("bring up the loopback interface"),
            Self::Gateway { .. } => f.write_str("open the sockets of the network's gateway"),
            Self::Limit { resource, value } => write!(f, "limit {resource} to {value}"),
            Self::DropPrivileges => f.write_str("give up privileges"),
            Self::NoNewPrivileges => f.write_str("bar new privileges"),
            Self::Landlock { .. } => f.write_str("confine file access by Landlock"),
            Self::Seccomp { .. } => f.write_str("install the seccomp filter"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "memory",
            Self::Processes => "processes",
            Self::OpenFiles => "open files",
            Self::FileSize => "file size",
            Self::CoreSize => "core size",
            Self::CpuTime => "processor time",
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Memory { bytes } if bytes % (1 << 20) == 0 => write!(f, "memory limit of {} MB reached", bytes >> 20),
            Self::Memory { bytes } => write!(f, "memory limit of {bytes} bytes reached"),
            Self::Processes { count } => write!(f, "limit of {count} processes reached"),
        }
    }
}

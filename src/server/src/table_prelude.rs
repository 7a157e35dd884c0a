//! The names that generated tables of tools use; see the manifest's `codegen`.

pub use std::collections::BTreeMap;
pub use std::net::Ipv4Addr;
pub use std::time::Duration;

pub use sandbox_manifest::parameter::{Parameter, ParameterKind};
pub use sandbox_manifest::policy::{Entry, Pattern};

pub use sandbox_plan::plan::default_disk_mb;

pub use crate::call::argument_error::ArgumentError;
pub use crate::call::arguments::{Arguments, NamedFiles, RequestedOptions, entrypoint};
pub use crate::call::choice::Executor;
pub use crate::call::definition::{
    Environment, Hints, Network, Package, PackageSet, Programs, Readiness, Resources, Sandbox, Service,
};
pub use crate::call::encoding::Encoding;
pub use crate::call::field;
pub use crate::call::file::File;
pub use crate::call::tool::Tool;

//! A call as plain data: its tool, its files and options, and what came of it.

pub(crate) mod argument_error;
pub mod arguments;
pub(crate) mod artifacts;
pub(crate) mod cancelled;
pub(crate) mod capture;
pub mod catalog;
pub mod choice;
pub mod definition;
pub(crate) mod encoding;
pub mod field;
pub mod file;
pub mod job;
pub(crate) mod lenient;
pub(crate) mod met_limit;
pub(crate) mod missed_packages;
pub(crate) mod missing;
pub(crate) mod nearest;
pub(crate) mod options;
pub mod outcome;
pub(crate) mod package_list;
pub mod packages;
pub mod program_input;
pub mod stage;
pub mod stored_inputs;
pub mod tool;

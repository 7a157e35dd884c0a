//! A call as plain data: its tool, its files and options, and what came of it.

pub mod argument_error;
pub mod arguments;
pub mod artifacts;
pub mod capture;
pub mod catalog;
pub mod choice;
pub mod definition;
pub mod file;
pub mod job;
pub mod missing;
pub mod options;
pub mod outcome;
pub mod package_list;
pub mod packages;
pub mod stage;
pub mod tool;

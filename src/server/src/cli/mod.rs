//! The command line: each command, and what it shares with the others.

pub mod args;
pub mod build_all;
pub mod doctor;
pub mod generated;
pub mod list;
pub mod reproduce;
pub mod run;
pub mod surroundings;

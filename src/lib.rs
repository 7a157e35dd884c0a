//! An MCP server that lets an AI agent run code in pinned Nix environments, isolated by Linux namespaces.
//!
//! # Bird's eye
//!
//! ```text
//! nix/*.nix ──evaluate──▶ manifest, archive ──build.rs──▶ tool table ──compile──▶ sandbox-mcp
//!                                                                                     │ first call of a tool
//!                         Nix store ◀── nix-store --realise ── realise ◀── unpack ◀───┘
//! ```
//!
//! Each file `nix/<id>.nix` defines one sandbox, which is one tool. The flake makes a manifest of all of them, and
//! build.rs writes typed parameters and a table of it ([`tool`]). What a tool runs in is thereby fixed when the server
//! is compiled: at run time Nix is asked to bring a known derivation's output there, and never to evaluate anything. So it
//! is with the [`packages`] that a call may ask for besides. Derivations are `.drv` files by the thousand, which the server
//! carries with it in one compressed [`mod@archive`]; those that are needed are added to the store first ([`unpack`]).
//!
//! # One call's walk
//!
//! ```text
//! server ─▶ tool ─▶ job ─▶ realise ─▶ executor ─▶ outcome ─▶ answer ─▶ server
//! ```
//!
//! 1. [`server`] takes `tools/call` and looks the tool up; it is the only file that knows MCP.
//! 2. [`tool`] parses the arguments into files with safe names ([`mod@file`]). What is wrong is refused here, by name.
//! 3. A [`job`] is the call as plain data: sandbox, files, deadline.
//! 4. [`runner`] carries it out: it has [`realise`] bring the pinned environment there (or asks [`host`] for this
//!    machine's toolchains), and the call's packages, which gives a [`view`], and waits for a free place.
//! 5. [`executor`] runs the job around that view. Executors differ in nothing but how: the job becomes a [`plan`], which
//!    is a list of steps as data, and [`launch`] gives it to the launcher, a static binary without threads that applies the steps
//!    in order and runs one program. Or it becomes a derivation ([`run_derivation`]), whose builder is the same launcher, and
//!    [`nix`] has it realised.
//! 6. The [`outcome`] says how the program ended and what it printed, up to a cap ([`capture`]).
//! 7. [`answer`] makes a text of it, with all that an agent acts on, and structured data.
//!
//! Before all that, a client is told which tools there are: those that have a [`backend`](mod@backend) to run on here, by a
//! [`description`](mod@description) that is true of that backend.
//!
//! The command line ([`command_line`]) takes the same walk from step 3 on ([`run_once`]). Dependencies point one way: no
//! file of this list uses one that comes before it.
//!
//! # Invariants
//!
//! - A program that fails is an outcome. An error is our own failure or the caller's bad input, and says what to change.
//! - Nothing of a call is left when it is answered: no process, no mount, no file. If the server dies, by SIGKILL too,
//!   the same holds within a second. The executor `derivation` alone leaves store paths, which are deleted a little later
//!   and can be read by every user of the machine until then.
//! - Every call in a pinned environment is a derivation that its answer names ([`receipt`](mod@receipt)), whichever executor
//!   carried it out.
//! - A program sees its environment's closure and its packages', its files, and nothing else of the host; no variable is
//!   inherited.
//! - The host's toolchains are never called pinned: an outcome names its executor, its environment and its walls.
//! - Every request is answered, also one that can't be read ([`transport`](mod@transport)).
//! - What a client sends is bounded ([`intake`]), and so is what a program can make the server hold ([`capture`]).
//! - Standard output is the protocol's alone; logs go to standard error.
//!
//! # Deliberately absent
//!
//! Evaluation of Nix at run time; a configuration that changes what a pinned environment is; state from one call to the
//! next; a daemon; Docker.

pub mod answer;
pub mod archive;
pub mod artifacts;
pub mod backend;
pub mod build_all;
pub mod call_options;
pub mod capture;
pub mod choice;
pub mod closure;
pub mod command_line;
pub mod confine;
pub mod derivation;
pub mod description;
pub mod doctor;
pub mod executor;
pub mod exported;
pub mod file;
pub mod host;
pub mod intake;
pub mod job;
pub mod joined;
pub mod json_id;
pub mod launch;
pub mod network;
pub mod nix;
pub mod outcome;
pub mod package_list;
pub mod packages;
pub mod plan;
pub mod realise;
pub mod receipt;
pub mod reproduce;
pub mod run_derivation;
pub mod run_once;
pub mod runner;
pub mod sandbox;
pub mod server;
pub mod stage;
pub mod stdio;
pub mod store_path;
pub mod surrogates;
pub mod surroundings;
#[cfg(test)]
mod testing;
pub mod tool;
pub mod tool_list;
pub mod transport;
pub mod unpack;
pub mod view;
pub mod walls;

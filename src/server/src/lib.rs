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
//! Each file `nix/<id>.nix` defines one sandbox, which is one tool. The flake evaluates all of them into a manifest, and
//! build.rs generates a struct of parameters per tool and a table of tools from it, in the program's package: this crate
//! takes them as its [catalog](call::catalog), and does not depend on the manifest. The environment of a tool is therefore
//! fixed when the server is compiled: at run time, Nix only realises (builds or downloads) derivations
//! that are already known, and never evaluates anything. The same holds for the packages that a call may ask for
//! ([`call::packages`]). The `.drv` files, thousands of them, are embedded in the server as one compressed
//! [archive](nix_store::archive); those that are needed are added to the store first (`nix::unpack`).
//!
//! # One call, from room to room
//!
//! ```text
//! cli ─▶ mcp ─▶ runner ─▶ executor ─▶ nix ─▶ sandbox ─▶ call ─▶ network
//! ```
//!
//! The folders are rooms. An arrow means "may use": a room uses those to its right, and never one to its left
//! (`tests/rooms.rs` checks that).
//!
//! 1. [`mcp`] reads `tools/call`, looks the tool up and parses the arguments; [`cli`] does the same for a command line.
//!    Bad input is refused here, with an error that names the parameter.
//! 2. [`call`] is the call as plain data: a [job](call::job) is a sandbox, files with safe names, options and a deadline.
//! 3. `runner` carries the job out. It makes sure that the pinned environment and the call's packages are in the store
//!    ([`nix::realise`]), or finds this host's toolchains (`sandbox::host`), which gives a [view](sandbox::view) of
//!    what the program may see; then it waits for a free slot.
//! 4. [`executor`] runs the job in that view. Executors differ only in how: `namespace` and `direct` turn the job into a
//!    [plan](sandbox::plan), a list of steps as data, which [`sandbox::launch`] sends to the launcher, a static binary
//!    that applies the steps in order and runs one program. `derivation` turns it into a derivation
//!    ([`nix::run_derivation`]) whose builder is the same launcher.
//! 5. The [outcome](call::outcome) says how the program ended, what it printed, up to a limit, and which files it left.
//! 6. [`mcp::answer`] turns it into the text that an agent acts on, and into structured data.
//!
//! Before all that, a server puts its operator's settings in force (`cli::settings`): the tools of the manifest and of the user's
//! JSON configs (`call::user_sandboxes`), with their limits and allow-lists (`call::overrides`), become the catalog, which
//! everything else reads. Then `tools/list` names the tools that have a backend (`sandbox::backend`) on this machine, each with a
//! description (`mcp::description`) that is true of that backend.
//!
//! # Invariants
//!
//! - A program that fails is an outcome. An error is our own failure or the caller's bad input, and says what to change.
//! - When a call is answered, nothing of it is left: no process, no mount, no file. If the server dies, even by SIGKILL,
//!   the same holds within a second. Only the executor `derivation` leaves store paths; they are deleted shortly after,
//!   and every user of the machine can read them until then.
//! - Every call in a pinned environment is a derivation, which its answer names ([`nix::receipt`]), whichever executor
//!   carried it out.
//! - A program sees the closures of its environment and packages, its own files, and nothing else of the host. It
//!   inherits no variable.
//! - The host's toolchains are never called pinned: an outcome names its executor, its environment and its walls, which
//!   are the layers of isolation that were in force.
//! - Every request is answered, even one that cannot be parsed (`mcp::transport`).
//! - Input from a client is bounded (`mcp::framing`), and so is the output that a program can make the server hold
//!   (`call::capture`).
//! - Standard output carries only the protocol; logs go to standard error, and no call waits until somebody reads them.
//! - An error's `Display` tells its whole cause, and its `source()` is `None`: errors are shown to models and written to logs,
//!   never walked. A field that holds a cause is called `cause`, and a variant that only passes an error on is transparent.
//!
//! # Deliberately absent
//!
//! Evaluation of Nix at run time; a configuration that changes what a pinned environment is; state between calls; a
//! daemon; Docker.

// The table of tools that unit tests use names this crate as any other crate would.
#[cfg(test)]
extern crate self as sandbox_server;

pub mod call;
pub mod cli;
pub mod executor;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod mcp;
pub mod network;
pub mod nix;
pub(crate) mod runner;
pub mod sandbox;
pub mod table_prelude;
#[cfg(test)]
mod testing;

/// The name of the program and of the server, by which shells find completions and clients know whom they talk to.
pub const PROGRAM: &str = "sandbox-mcp";

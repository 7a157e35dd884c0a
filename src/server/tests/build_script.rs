//! Tests of the crate's build script, run as cargo runs it, with launchers that cannot be embedded.

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

/// The path of the build script's binary, which it exports.
const BUILD_SCRIPT: &str = env!("SANDBOX_MCP_BUILD_SCRIPT");

fn main() -> ExitCode {
    let built_here = Path::new(BUILD_SCRIPT).exists();
    if !built_here {
        eprintln!("Ignored: {BUILD_SCRIPT} no longer exists; this test can only run where cargo built it.");
    }
    let test = Trial::test("launcher_missing_or_no_program_is_refused_by_its_path", bad_launcher);
    libtest_mimic::run(&Arguments::from_args(), vec![test.with_ignored_flag(!built_here)]).exit_code()
}

fn bad_launcher() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let text = directory.path().join("text");
    std::fs::write(&text, "no program")?;
    for (launcher, error) in [
        (Path::new("/no/such/launcher"), "cannot read the launcher /no/such/launcher: No such file".to_owned()),
        (&text, format!("cannot embed the launcher {}: it is not a program; set SANDBOX_MCP_LAUNCHER", text.display())),
    ] {
        let output = Command::new(BUILD_SCRIPT)
            .env("OUT_DIR", directory.path())
            .env("TARGET", env!("SANDBOX_MCP_TARGET"))
            .env("CARGO", env!("CARGO"))
            .env("SANDBOX_MCP_LAUNCHER", launcher)
            .output()?;
        let stdout = String::from_utf8(output.stdout)?;
        assert!(!output.status.success() && stdout.contains(&format!("cargo::error={error}")), "{stdout}");
    }
    Ok(())
}

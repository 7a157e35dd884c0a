# The server, compiled from a manifest.
{
  lib,
  rust,
  manifest,
}:
rust.build {
  pname = "sandbox-mcp";

  # A user who installs the server compiles no tests: tests.nix does, and nix/checks runs them.
  files = [ rust.programSources ];
  compiled = rust.releaseLibraries;
  cargoBuildFlags = rust.releaseFlags;

  env = {
    SANDBOX_MCP_LAUNCHER = lib.getExe rust.launcher;
    SANDBOX_MCP_MANIFEST = manifest;
  };
}

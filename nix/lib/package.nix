# The server, compiled from a manifest.
{
  lib,
  rust,
  manifest,
}:
rust.build {
  pname = "sandbox-mcp";

  # A user who installs the server compiles no tests: tests.nix does, and nix/checks runs them.
  files = [ rust.serverSources ];
  compiled = rust.releaseDependencies;
  cargoBuildFlags = [
    "--package"
    "sandbox-mcp"
    "--bins"
  ];

  env = {
    SANDBOX_MCP_LAUNCHER = lib.getExe rust.launcher;
    SANDBOX_MCP_MANIFEST = manifest;
  };
}

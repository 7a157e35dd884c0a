# The server, compiled from a manifest.
{ pkgs, manifest }:
import ./rust.nix { inherit pkgs; } {
  pname = "sandbox-mcp";

  # A user who installs the server compiles no tests: tests.nix does, and nix/checks runs them.
  tests = false;
  cargoBuildFlags = [ "--bins" ];
  doCheck = false;

  env.SANDBOX_MCP_MANIFEST = manifest;
}

# The flake's checks, each a derivation that fails with what is wrong: a file, an idea.
{ pkgs, server }:
let
  check = file: import file { inherit pkgs server; };
in
check ./cases.nix
// {
  arguments = check ./arguments.nix;
  by-nix = check ./by-nix.nix;
  clippy = check ./clippy.nix;
  closed = check ./closed.nix;
  docs = check ./docs.nix;
  format = check ./format.nix;
  fresh-store = check ./fresh-store.nix;
  go-build-cache = check ./go-build-cache.nix;
  java-aot-cache = check ./java-aot-cache.nix;
  launcher = check ./launcher.nix;
  manifest = check ./manifest.nix;
  mcp = check ./mcp.nix;
  module-arguments = check ./module-arguments.nix;
  modules = check ./modules.nix;
  network = check ./network.nix;
  own-sandboxes = check ./own-sandboxes.nix;
  own-store = check ./own-store.nix;
  packages = check ./packages.nix;
  refusals = check ./refusals.nix;
  replay = check ./replay.nix;
  services = check ./services.nix;
  stand-in = check ./stand-in.nix;
  inherit (server) tests;
  workflows = check ./workflows.nix;
}

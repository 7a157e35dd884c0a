# Calls as derivations, by a Nix inside of Nix's own sandbox: above all, what a call's receipt gives when Nix realises it is what
# the executor of namespaces has answered.
#
# No builder reaches the machine's Nix. So this one has a store of its own at /nix, in which all that it sees is valid. Tests
# that need root, another user or a store in layers are for `cargo test` on a machine.
{ pkgs, server }:
let
  inherit (pkgs) lib;
in
pkgs.runCommand "by-nix"
  {
    nativeBuildInputs = [
      pkgs.bubblewrap
      pkgs.nix
    ];
    registration = import ./registration.nix { inherit pkgs; } [ server.package ];
    environments = pkgs.closureInfo {
      rootPaths = [
        server.environments.network-tools
        server.environments.python
        server.environments.shell
      ];
    };
    SANDBOX_MCP_BIN = lib.getExe server.package;
    tests = "${server.tests}/bin/by-nix";
  }
  ''
    printf '%s\n' /nix/store/* > seen
    bash ${./own-store.sh} seen bash -euo pipefail -c '
      bash ${./register.sh} $registration
      nix-store --load-db < $environments/registration
      $tests
    '
    touch $out
  ''

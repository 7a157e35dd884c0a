# The launcher by itself, as a user who may be nothing but a builder of Nix.
{ pkgs, server }:
pkgs.runCommand "launcher" { SANDBOX_LAUNCHER_BIN = "${server.tests}/bin/sandbox-launcher"; } ''
  ${server.tests}/bin/launcher
  touch $out
''

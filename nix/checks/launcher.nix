# The launcher by itself, as a user who may be nothing but a builder of Nix.
{ pkgs, server }:
pkgs.runCommand "launcher"
  {
    # Some of what the launcher bounds is taken by system calls that a shell does not make.
    nativeBuildInputs = [
      pkgs.python313
      pkgs.util-linux
    ];
    SANDBOX_LAUNCHER_BIN = "${pkgs.lib.getExe server.rust.launcher}";
  }
  ''
    ${server.tests}/bin/launcher
    touch $out
  ''

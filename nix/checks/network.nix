# Network access by allow-list, in namespaces that a builder of Nix makes.
{ pkgs, server }:
pkgs.runCommand "network"
  {
    nativeBuildInputs = [
      pkgs.curl
      pkgs.python313
    ];
  }
  ''
    ${server.tests}/bin/network --include-ignored
    touch $out
  ''

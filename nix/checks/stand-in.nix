# The rules of nixpkgs that this flake relies on, a file of stand-in/ each. They hold of nixpkgs itself; where
# checks/offline-nixpkgs is laxer, they fail.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  rules = lib.mapAttrsToList (name: _: import (./stand-in + "/${name}") pkgs) (
    builtins.readDir ./stand-in
  );
in
pkgs.runCommand "stand-in" { inherit rules; } ''
  cat $rules > $out
''

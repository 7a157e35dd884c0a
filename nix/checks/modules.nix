# The modules for NixOS and home-manager, evaluated: what they set, what they leave to others, and that each option is documented.
#
# NixOS comes from nixpkgs' own files. The home module meets only the options that it sets, declared as home-manager does, since
# home-manager is no input of this flake. A stand-in for nixpkgs has no module system; `skipped` says so.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  inherit (server) package;

  nixos = pkgs.path + "/nixos/lib/eval-config.nix";
  missing =
    if !(lib ? evalModules) then
      "lib has no evalModules"
    else if !(pkgs ? path && builtins.pathExists nixos) then
      "there is no nixos/lib/eval-config.nix"
    else
      null;
  reason = "this package set is not all of nixpkgs: ${missing}";

  problems = import ./modules {
    inherit
      lib
      nixos
      package
      pkgs
      ;
  };
in
if missing != null then
  pkgs.runCommand "modules" { passthru.skipped = reason; } ''
    echo "skipped: ${reason}"
    touch $out
  ''
else
  pkgs.runCommand "modules" { problems = lib.concatLines problems; } ''
    echo -n "$problems"
    [ -z "$problems" ]
    touch $out
  ''

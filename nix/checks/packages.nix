# What the server's builder has evaluated is what the flake evaluates. Every name in nix/package-sets is
# one of nixpkgs', and no other name is. A stand-in for nixpkgs lacks some, and so may nixpkgs for another system: there, they are
# told.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  mayLack = pkgs.isStandIn or false || pkgs.stdenv.hostPlatform.system != "x86_64-linux";
in
pkgs.runCommand "packages"
  {
    nativeBuildInputs = [
      pkgs.diffutils
      pkgs.jq
    ];
    index = "${server.derivations}/index.json";
    evaluated = builtins.toJSON (import ../lib/index.nix { inherit (server) environments packages; });
    passAsFile = [ "evaluated" ];
  }
  ''
    jq --sort-keys . $evaluatedPath | diff $index -
    jq --exit-status 'all(.packageSets[]; .packages != {})' $index
    jq --raw-output '.packageSets | to_entries[] | "\(.key).nix: \(.value.leftOut[])"' $index > leftOut
    echo 'Left out, since they are not there or can not be had on this system:'
    cat leftOut
    ${lib.optionalString (!mayLack) "[ ! -s leftOut ]"}
    touch $out
  ''

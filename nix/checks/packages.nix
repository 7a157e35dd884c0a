# Every package that nix/packages names is one of nixpkgs', and no other name is. A stand-in for nixpkgs lacks some, and so may
# nixpkgs for another system: there, they are told.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  mayLack = pkgs.isStandIn or false || pkgs.stdenv.hostPlatform.system != "x86_64-linux";
  leftOut = lib.concatMap (id: map (name: "${id}.nix: ${name}") server.packages.${id}.leftOut) (
    lib.attrNames server.packages
  );
in
pkgs.runCommand "packages"
  {
    leftOut = lib.concatLines leftOut;
    passAsFile = [ "leftOut" ];
  }
  ''
    echo 'Left out, since they are not there or can not be had on this system:'
    cat $leftOutPath
    ${lib.optionalString (!mayLack) "[ ! -s $leftOutPath ]"}
    touch $out
  ''

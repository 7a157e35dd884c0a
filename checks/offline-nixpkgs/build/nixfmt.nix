# nixfmt, built from its crate, and a nixfmt-tree that formats what it is given, or all below the working directory.
{ pkgs, lib }:
let
  crate = (builtins.fromJSON (builtins.readFile ../crates.json)).nixfmt;
in
rec {
  nixfmt = pkgs.rustPlatform.buildRustPackage {
    pname = "nixfmt";
    inherit (crate) version;
    src = pkgs.rustPlatform.fetchCollectedCrate crate;
    cargoLock.lockFileContents = crate.cargoLock;
    doCheck = false;
    meta.mainProgram = "nixfmt";
  };

  nixfmt-tree = pkgs.writeShellScriptBin "treefmt" ''
    case "''${1:-}" in
      --ci | --fail-on-change) shift; check=--check ;;
    esac
    exec ${lib.getExe nixfmt} ''${check:-} "''${@:-.}"
  '';
}

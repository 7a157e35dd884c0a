# Nix and Rust files are formatted: `nix fmt` and `cargo fmt` change nothing.
{ pkgs, server }:
let
  inherit (pkgs.lib.fileset) fileFilter toSource unions;
  root = ../..;
in
pkgs.runCommand "format"
  {
    src = toSource {
      inherit root;
      fileset = unions [
        (fileFilter (file: file.hasExt "nix" || file.hasExt "rs" || file.name == "Cargo.toml") root)
        (root + "/rustfmt.toml")
      ];
    };
    nativeBuildInputs = [
      pkgs.cargo
      pkgs.nixfmt
      pkgs.rustfmt
    ];
  }
  ''
    cd $src
    find . -name '*.nix' -exec nixfmt --check {} +
    cargo fmt --all --check
    touch $out
  ''

# The server, compiled from a manifest; and, as its output `checks`, the compiled integration tests, so that the flake's checks
# run them without compiling them again.
{ pkgs, manifest }:
let
  inherit (pkgs) lib;
  root = ../..;
  # All of checks/ that cargo compiles, but neither the cases nor the offline package set.
  tests = map (name: root + "/checks/${name}") (
    lib.filter (lib.hasSuffix ".rs") (lib.attrNames (builtins.readDir (root + "/checks")))
  );
  inherit ((lib.importTOML (root + "/Cargo.toml")).package) version description;
in
pkgs.rustPlatform.buildRustPackage {
  pname = "sandbox-mcp";
  inherit version;

  # Only what cargo reads, so that a change of anything else compiles nothing.
  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions [
      (root + "/Cargo.toml")
      (root + "/Cargo.lock")
      (root + "/build.rs")
      (root + "/src")
      (root + "/nix/manifest.json")
      tests
    ];
  };
  cargoLock.lockFile = root + "/Cargo.lock";

  outputs = [
    "out"
    "checks"
  ];

  env.SANDBOX_MCP_MANIFEST = manifest;
  # build.rs links the launcher statically.
  buildInputs = [ pkgs.glibc.static ];

  meta = {
    inherit description;
    license = lib.licenses.mit;
    mainProgram = "sandbox-mcp";
    platforms = lib.platforms.linux;
  };
}

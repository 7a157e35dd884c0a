# buildRustPackage for this repository: what the server, its tests and clippy have in common.
{ pkgs }:
let
  inherit (pkgs) lib;
  inherit (lib.fileset) fileFilter toSource unions;
  root = ../..;
  inherit ((lib.importTOML (root + "/Cargo.toml")).package) version description;
in
{
  # Besides what cargo needs to compile the server.
  files ? [ ],
  ...
}@arguments:
pkgs.rustPlatform.buildRustPackage (
  {
    inherit version;

    # Only what cargo reads, so that a change of anything else compiles nothing.
    src = toSource {
      inherit root;
      fileset = unions (
        [
          (root + "/Cargo.toml")
          (root + "/Cargo.lock")
          (root + "/build.rs")
          (root + "/src")
          (root + "/nix/manifest.json")
          # Cargo wants every target of Cargo.toml to be there, whether or not it compiles it.
          (fileFilter (file: file.hasExt "rs") (root + "/checks"))
        ]
        ++ files
      );
    };
    cargoLock.lockFile = root + "/Cargo.lock";

    # build.rs links the launcher statically.
    buildInputs = [ pkgs.glibc.static ];

    meta = {
      inherit description;
      license = lib.licenses.mit;
      mainProgram = "sandbox-mcp";
      platforms = lib.platforms.linux;
    };
  }
  // removeAttrs arguments [ "files" ]
)

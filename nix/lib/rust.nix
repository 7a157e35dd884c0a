# buildRustPackage for this repository: what the server, its tests and clippy have in common.
{ pkgs }:
let
  inherit (pkgs) lib;
  inherit (lib.fileset)
    difference
    fileFilter
    toSource
    unions
    ;
  root = ../..;
  launcherTests = root + "/src/launcher/tests";
  cargo = lib.importTOML (root + "/Cargo.toml");
  inherit (cargo.package) version description;
in
{
  # Besides what cargo needs to compile the server.
  files ? [ ],
  # Whether tests are compiled.
  tests ? true,
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
          (difference (root + "/src") launcherTests)
          (root + "/nix/manifest.json")
          # The server has a host's JDK compile it.
          (root + "/nix/pkgs/ahead/RunSource.java")
        ]
        ++ lib.optionals tests [
          launcherTests
          (fileFilter (file: file.hasExt "rs") (root + "/checks"))
        ]
        ++ files
      );
    };
    cargoLock.lockFile = root + "/Cargo.lock";

    # Cargo wants every target of Cargo.toml to be there, whether or not it compiles it.
    postPatch = lib.optionalString (!tests) (
      lib.concatMapStrings (target: "install -D /dev/null ${target.path}\n") (cargo.test ++ cargo.bench)
    );

    # build.rs links the launcher statically. The linker takes what the first directory has, so what links dynamically comes first.
    buildInputs = [
      pkgs.glibc.out
      pkgs.glibc.static
    ];

    meta = {
      inherit description;
      license = lib.licenses.mit;
      mainProgram = "sandbox-mcp";
      platforms = lib.platforms.linux;
    };
  }
  // removeAttrs arguments [
    "files"
    "tests"
  ]
)

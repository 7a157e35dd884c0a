# buildRustPackage for this repository: what the server, its tests and clippy have in common.
{ pkgs }:
let
  inherit (pkgs) lib;
  inherit (lib.fileset)
    difference
    toSource
    unions
    ;
  root = ../..;
  # What only tests read.
  testFiles = unions [
    (root + "/src/launcher/tests")
    (root + "/src/manifest/tests")
    (root + "/src/server/benches")
    (root + "/src/server/tests")
  ];
  inherit ((lib.importTOML (root + "/Cargo.toml")).workspace.package) version description;
  targets = lib.importTOML (root + "/src/server/Cargo.toml");
in
{
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
          (difference (root + "/src") testFiles)
          (root + "/nix/manifest.json")
          # The server has a host's JDK compile it.
          (root + "/nix/pkgs/ahead/RunSource.java")
        ]
        ++ lib.optional tests testFiles
      );
    };
    cargoLock.lockFile = root + "/Cargo.lock";

    # Cargo wants every target of a Cargo.toml to be there, whether or not it compiles it.
    postPatch = lib.optionalString (!tests) (
      lib.concatMapStrings (test: "install -D /dev/null src/server/tests/${test.name}.rs\n") targets.test
      + lib.concatMapStrings (bench: "install -D /dev/null src/server/benches/${bench.name}.rs\n") targets.bench
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
  // removeAttrs arguments [ "tests" ]
)

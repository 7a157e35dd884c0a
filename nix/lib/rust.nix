# What is compiled from the Rust sources, by way of buildRustPackage. Crates of others are compiled once for each kind of build, and the
# launcher for itself, so that a change of the sources compiles no more than the sources.
{
  glibc,
  lib,
  rustPlatform,
  stdenv,
}:
let
  inherit (lib.fileset) difference toSource unions;

  root = ../..;
  workspace = (lib.importTOML (root + "/Cargo.toml")).workspace;
  server = lib.importTOML (root + "/src/server/Cargo.toml");

  # What cargo reads of every member, whatever it compiles.
  manifests = unions (
    [
      (root + "/Cargo.toml")
      (root + "/Cargo.lock")
    ]
    ++ map (member: root + "/${member}/Cargo.toml") workspace.members
  );

  # What only tests and benches read.
  tests = unions [
    (root + "/src/launcher/tests")
    (root + "/src/manifest/tests")
    (root + "/src/server/benches")
    (root + "/src/server/tests")
  ];

  sources = unions [
    (root + "/build.rs")
    (root + "/nix/manifest.json")
    # The server has a host's JDK compile it.
    (root + "/nix/pkgs/ahead/RunSource.java")
    (root + "/src")
  ];

  build =
    {
      # Files beside the manifests.
      files,
      # What `dependencies` gives for this kind of build, if anything.
      compiled ? null,
      ...
    }@arguments:
    rustPlatform.buildRustPackage (
      {
        inherit (workspace.package) version;
        src = toSource {
          inherit root;
          fileset = unions ([ manifests ] ++ files);
        };
        cargoLock.lockFile = root + "/Cargo.lock";

        # Cargo wants every member and every target to be there, whether or not it compiles it.
        postPatch = ''
          stub() {
            for file; do
              [ -e "$file" ] || [ -e "''${file%.rs}/main.rs" ] || install -D ${builtins.toFile "stub.rs" "fn main() {}"} "$file"
            done
          }
          for member in ${toString workspace.members}; do
            [ -e $member/src ] || stub $member/src/{lib,main}.rs
          done
          stub build.rs
          stub ${
            toString (
              map (test: "src/server/tests/${test.name}.rs") server.test
              ++ map (bench: "src/server/benches/${bench.name}.rs") server.bench
            )
          }
        '';

        # To cargo, what was compiled is fresh as long as nothing that it was compiled from is newer.
        preBuild = lib.optionalString (compiled != null) ''
          cp -r ${compiled} target
          chmod -R u+w target
          find target "$NIX_BUILD_TOP"/cargo-vendor-dir* -exec touch --no-dereference --date=@2 {} +
        '';

        doCheck = false;

        meta = {
          inherit (workspace.package) description;
          license = lib.licenses.mit;
          mainProgram = "sandbox-mcp";
          platforms = lib.platforms.linux;
        };
      }
      // removeAttrs arguments [
        "compiled"
        "files"
      ]
    );

  # The crates of others, compiled as for `cargo build` with these flags: a target directory.
  dependencies =
    arguments:
    build (
      {
        files = [ ];
        # Nobody shall take the stubs for the members that they stand for.
        installPhase = ''
          runHook preInstall
          find target -path '*/.fingerprint/*' -maxdepth 4 \( ${
            lib.concatMapStringsSep " -o " (member: "-name '${member}-*'") members
          } \) -exec rm -r {} +
          cp -r target $out
          runHook postInstall
        '';
        dontFixup = true;
      }
      // arguments
    );
  members = map (
    member: (lib.importTOML (root + "/${member}/Cargo.toml")).package.name
  ) workspace.members;
in
{
  inherit
    build
    dependencies
    sources
    tests
    ;

  # The server's sources without those of its tests.
  serverSources = difference sources (unions [
    tests
    (root + "/src/launcher")
    (root + "/src/test-support")
  ]);

  # The launcher, which the server embeds: one static program, which the kernel starts for every sandbox.
  launcher = build {
    pname = "sandbox-launcher";
    files = [
      (root + "/src/launcher/src")
      (root + "/src/plan/src")
    ];
    buildType = "launcher";
    cargoBuildFlags = [
      "--package"
      "sandbox-launcher"
    ];
    env.CARGO_ENCODED_RUSTFLAGS = "-Ctarget-feature=+crt-static";
    # The linker takes what the first directory has, so what links dynamically comes first.
    buildInputs = [
      glibc.out
      glibc.static
    ];
    installPhase = ''
      runHook preInstall
      install -D target/*/launcher/sandbox-launcher $out/bin/sandbox-launcher
      runHook postInstall
    '';
    meta.mainProgram = "sandbox-launcher";
  };

  # For debug builds of everything: tests, and what clippy looks at.
  debugDependencies = dependencies {
    pname = "sandbox-mcp-debug-dependencies";
    buildType = "debug";
    cargoBuildFlags = [
      "--workspace"
      "--all-targets"
    ];
    postBuild = "cargo check --offline --workspace --all-targets --target ${stdenv.hostPlatform.rust.rustcTarget}";
  };

  releaseDependencies = dependencies {
    pname = "sandbox-mcp-dependencies";
    cargoBuildFlags = [
      "--package"
      "sandbox-mcp"
      "--bins"
    ];
  };
}

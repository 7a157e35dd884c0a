# What is compiled from the Rust sources, by way of buildRustPackage. What changes seldom is a derivation of its own: the crates of
# others, once for each kind of build, the launcher, and the libraries of the server. So a change of the sources compiles no more than
# the sources, and a change of a sandbox no more than the package that the manifest enters.
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
  packages = map (
    directory: (lib.importTOML (root + "/${directory}/Cargo.toml")) // { inherit directory; }
  ) workspace.members;

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
    (root + "/src/sandbox-mcp/benches")
    (root + "/src/sandbox-mcp/tests")
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
          stub build.rs src/server/build.rs
          stub ${
            toString (
              lib.concatMap (
                package:
                map (test: "${package.directory}/tests/${test.name}.rs") package.test or [ ]
                ++ map (bench: "${package.directory}/benches/${bench.name}.rs") package.bench or [ ]
              ) packages
            )
          }
        '';

        # To cargo, what was compiled is fresh as long as nothing that it was compiled from is newer. The packages that were stubs then have
        # left nothing that could be fresh.
        preBuild = lib.optionalString (compiled != null) ''
          cp -r ${compiled} target
          chmod -R u+w target
          find . "$NIX_BUILD_TOP"/cargo-vendor-dir* -exec touch --no-dereference --date=@2 {} +
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

  # A target directory, as `cargo build` with these flags leaves it, for the packages whose sources `files` has.
  dependencies =
    {
      # The names of packages that are stubs.
      stubs ? map (package: package.package.name) packages,
      ...
    }@arguments:
    build (
      {
        files = [ ];
        # Nobody shall take the stubs for the packages that they stand for.
        installPhase = ''
          runHook preInstall
          find target -path '*/.fingerprint/*' -maxdepth 4 \( ${
            lib.concatMapStringsSep " -o " (name: "-name '${name}-*'") stubs
          } \) -exec rm -r {} +
          cp -r target $out
          runHook postInstall
        '';
        dontFixup = true;
      }
      // removeAttrs arguments [ "stubs" ]
    );

  # The program with all that it needs, but no tests.
  releaseFlags = [
    "--package"
    "sandbox-mcp"
    "--bins"
  ];

  # What is compiled into the server, whatever its manifest is.
  librarySources = difference sources (unions [
    tests
    (root + "/build.rs")
    (root + "/nix/manifest.json")
    (root + "/src/launcher")
    (root + "/src/sandbox-mcp")
    (root + "/src/test-support")
  ]);
in
rec {
  inherit
    build
    dependencies
    releaseFlags
    sources
    tests
    ;

  # The program's sources without those of its tests.
  programSources = unions [
    librarySources
    (root + "/build.rs")
    (root + "/src/sandbox-mcp/src")
  ];

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
    cargoBuildFlags = releaseFlags;
  };

  # These, and the libraries of the server.
  releaseLibraries = dependencies {
    pname = "sandbox-mcp-libraries";
    files = [ librarySources ];
    stubs = [ "sandbox-mcp" ];
    compiled = releaseDependencies;
    cargoBuildFlags = releaseFlags;
    env.SANDBOX_MCP_LAUNCHER = lib.getExe launcher;
  };
}

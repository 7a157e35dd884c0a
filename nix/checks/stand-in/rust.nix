# buildRustPackage: what its hooks make of cargo's environment, as a build script sees it, and where crates are found.
pkgs:
let
  text = pkgs.writeText;
  lock = ''
    version = 4

    [[package]]
    name = "rule"
    version = "0.1.0"
  '';
  src = pkgs.runCommand "source" { } ''
    mkdir -p $out/src
    cp ${text "Cargo.lock" lock} $out/Cargo.lock
    cp ${text "Cargo.toml" ''
      [package]
      name = "rule"
      version = "0.1.0"
      edition = "2021"
    ''} $out/Cargo.toml
    cp ${text "build.rs" ''
      fn main() {
          let variable = |name: &str| std::env::var(name).ok();
          let target = variable("TARGET").unwrap();
          let upper = target.to_uppercase().replace('-', "_");
          // For the target by name, so that flags meant for the result reach no build script.
          assert_eq!(variable("CARGO_BUILD_TARGET"), Some(target));
          assert!(variable(&format!("CARGO_TARGET_{upper}_LINKER")).unwrap().ends_with("/bin/cc"));
          assert_eq!(variable("CARGO_PROFILE_RELEASE_STRIP").as_deref(), Some("false"));
          // The workspace's crates are compiled by way of cargo-auditable.
          assert!(variable("RUSTC_WORKSPACE_WRAPPER").unwrap().contains("cargo-auditable"));
          // Neither a home nor a directory of cargo's own.
          assert_eq!(variable("HOME").as_deref(), Some("/homeless-shelter"));
          assert_eq!(variable("CARGO_HOME"), None);
      }
    ''} $out/build.rs
    cp ${text "main.rs" ''
      fn main() {}
      #[test]
      fn of_the_rule() {
          assert_eq!(std::env::var("RUST_TEST_THREADS"), std::env::var("NIX_BUILD_CORES"));
      }
    ''} $out/src/main.rs
  '';
  otherLock.lockFile = ../../pkgs/rust/Cargo.lock;
  package =
    arguments:
    pkgs.rustPlatform.buildRustPackage (
      {
        name = "rule";
        inherit src;
      }
      // arguments
    );
in
pkgs.runCommand "rust"
  {
    built = package {
      cargoLock.lockFileContents = lock;
      # Crates are named above the sources and not in them.
      preBuild = "[ ! -e .cargo ] && grep vendored ../.cargo/config.toml";
    };
    refused = pkgs.testers.testBuildFailure (package {
      cargoLock = otherLock;
    });
    vendored = pkgs.rustPlatform.importCargoLock otherLock;
  }
  ''
    set -x
    [ -x $built/bin/rule ]
    grep -q 'Cargo.lock is not ' $refused/testBuildFailure.log
    # Each crate is a link.
    [ -L $vendored/anyhow-* ]
    [ -e $vendored/Cargo.lock ]
    touch $out
  ''

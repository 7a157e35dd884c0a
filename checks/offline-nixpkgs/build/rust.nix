# rustPlatform: crates that collect/ has put into the store, and buildRustPackage.
{ pkgs, lib }:
let
  target = pkgs.stdenv.hostPlatform.rust.rustcTarget;

  # Valid already, like units.nix' files: the builder never runs.
  crate =
    {
      name,
      version,
      checksum,
      ...
    }:
    derivation {
      name = "crate-${name}-${version}.tar.gz";
      inherit (pkgs) system;
      builder = "/checks/offline-nixpkgs/collect";
      outputHashAlgo = "sha256";
      outputHash = checksum;
    };

  importCargoLock =
    {
      lockFile ? null,
      lockFileContents ? builtins.readFile lockFile,
    }:
    let
      crates = lib.filter (package: package ? checksum) (builtins.fromTOML lockFileContents).package;
    in
    pkgs.runCommandLocal "cargo-vendor-dir" { } ''
      mkdir $out
      vendor() {
        tar -xzf $3 -C $out
        echo "{\"files\":{},\"package\":\"$2\"}" > $out/$1/.cargo-checksum.json
      }
      ${lib.concatMapStrings (c: "vendor ${c.name}-${c.version} ${c.checksum} ${crate c}\n") crates}
    '';

  phases = {
    # The directory is a copy, since paths of it end up in panic messages and so in the closure.
    configurePhase = ''
      runHook preConfigure
      cp -r $cargoDeps $NIX_BUILD_TOP/cargo-vendor-dir
      chmod -R u+w $NIX_BUILD_TOP/cargo-vendor-dir
      mkdir -p .cargo
      cat >> .cargo/config.toml <<END
      [source.crates-io]
      replace-with = "vendored-sources"
      [source.vendored-sources]
      directory = "$NIX_BUILD_TOP/cargo-vendor-dir"
      END
      export CARGO_HOME=$NIX_BUILD_TOP/cargo-home
      runHook postConfigure
    '';
    # With --target, the flags meant for the result don't reach build scripts and procedural macros: +crt-static breaks those.
    buildPhase = ''
      runHook preBuild
      cargo build -j $NIX_BUILD_CORES --target ${target} --offline --profile $cargoProfile $cargoBuildFlags
      runHook postBuild
    '';
    checkPhase = ''
      runHook preCheck
      cargo test -j $NIX_BUILD_CORES --target ${target} --offline --profile $cargoProfile ''${cargoTestFlags:-$cargoBuildFlags} -- $checkFlags
      runHook postCheck
    '';
    installPhase = ''
      runHook preInstall
      mkdir -p $out/bin
      find target/${target}/release -maxdepth 1 -type f -executable -not -name '*.so' -exec cp -t $out/bin {} +
      runHook postInstall
    '';
  };

  buildRustPackage =
    argument:
    let
      attrs = if lib.isFunction argument then lib.fix argument else argument;
      buildType = attrs.buildType or "release";
      nativeBuildInputs = attrs.nativeBuildInputs or [ ] ++ [
        pkgs.cargo
        pkgs.rustc
      ];
    in
    pkgs.stdenv.mkDerivation (
      phases
      // {
        doCheck = true;
        cargoBuildFlags = [ ];
        checkFlags = [ ];
        cargoProfile = if buildType == "debug" then "dev" else buildType;
      }
      // removeAttrs attrs [
        "cargoLock"
        "buildType"
      ]
      // {
        inherit nativeBuildInputs;
        cargoDeps = importCargoLock attrs.cargoLock;
        passthru = attrs.passthru or { } // {
          shellInputs = nativeBuildInputs ++ attrs.buildInputs or [ ];
        };
      }
    );
in
{
  rustPlatform = {
    inherit importCargoLock buildRustPackage;
    fetchCollectedCrate = crate;
  };
}

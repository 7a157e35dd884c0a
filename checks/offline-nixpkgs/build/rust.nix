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
      inherit (pkgs.stdenv.hostPlatform) system;
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
      unpacked = pkgs.runCommandLocal "crates" { } ''
        mkdir $out
        unpack() {
          tar -xzf $3 -C $out
          echo "{\"files\":{},\"package\":\"$2\"}" > $out/$1/.cargo-checksum.json
        }
        ${lib.concatMapStrings (c: "unpack ${c.name}-${c.version} ${c.checksum} ${crate c}\n") crates}
      '';
    in
    pkgs.runCommandLocal "cargo-vendor-dir"
      {
        inherit lockFileContents;
        passAsFile = [ "lockFileContents" ];
      }
      ''
        mkdir $out
        ln -s ${unpacked}/* $out
        cp $lockFileContentsPath $out/Cargo.lock
      '';

  # What nixpkgs has as a hook for each phase.
  hooks = pkgs.writeTextFile {
    name = "cargo-hooks";
    destination = "/nix-support/setup-hook";
    text = lib.replaceStrings [ "@target@" "@cc@" ] [ target "${pkgs.stdenv.cc}/bin" ] (
      lib.readFile ./cargo-hooks.sh
    );
  };

  # As cargo-auditable does: cargo has the crates of the workspace compiled by way of a program of its own.
  auditable = pkgs.writeShellScriptBin "cargo" ''
    export RUSTC_WORKSPACE_WRAPPER=${pkgs.writeShellScript "cargo-auditable" ''exec "$@"''}
    exec ${pkgs.cargo}/bin/cargo "$@"
  '';

  buildRustPackage =
    argument:
    let
      attrs = if lib.isFunction argument then lib.fix argument else argument;
      buildType = attrs.buildType or "release";
      nativeBuildInputs = attrs.nativeBuildInputs or [ ] ++ [
        auditable
        hooks
        pkgs.rustc
        pkgs.cargo
      ];
    in
    pkgs.stdenv.mkDerivation (
      removeAttrs attrs [
        "cargoLock"
        "buildType"
      ]
      // {
        inherit nativeBuildInputs;
        cargoDeps = importCargoLock attrs.cargoLock;
        cargoBuildType = buildType;
        doCheck = attrs.doCheck or true;
        strictDeps = true;
        env = {
          RUST_LOG = "";
          RUSTFLAGS = "";
        }
        // attrs.env or { };
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

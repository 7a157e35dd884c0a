# stdenv.mkDerivation: phases, hooks and outputs as nixpkgs names them, run by setup.sh.
{
  pkgs,
  lib,
  system,
  gcc,
}:
let
  initialPath = with pkgs; [
    coreutils
    findutils
    diffutils
    gnused
    gnugrep
    gawk
    gnutar
    gzip
    bzip2
    xz
    gnupatch
    bash
  ];

  # Attributes that nixpkgs keeps from the builder too.
  notPassed = [
    "meta"
    "passthru"
    "env"
    "pos"
    "nativeCheckInputs"
    "checkInputs"
  ];

  mkDerivationWith =
    { cc }:
    argument:
    let
      attrs = if lib.isFunction argument then lib.fix argument else argument;
      doCheck = attrs.doCheck or false;
      given =
        removeAttrs attrs notPassed
        // (attrs.env or { })
        // {
          name = attrs.name or "${attrs.pname}-${attrs.version}";
          outputs = attrs.outputs or [ "out" ]; # `nix develop` reads that of the environment
          nativeBuildInputs =
            attrs.nativeBuildInputs or [ ]
            ++ lib.optionals doCheck (attrs.nativeCheckInputs or [ ])
            ++ lib.optional (cc != null) cc;
          buildInputs = attrs.buildInputs or [ ] ++ lib.optionals doCheck (attrs.checkInputs or [ ]);
        };
      built = derivation (
        given
        // {
          inherit system;
          builder = "${pkgs.bash}/bin/bash";
          args = [ ./setup.sh ];
          initialPath = map (package: "${package}/bin") initialPath;
        }
      );
    in
    built
    // (attrs.passthru or { })
    // {
      meta = {
        available = lib.all (input: input.meta.available or true) (lib.flatten (lib.attrValues given));
      }
      // attrs.meta or { };
      overrideAttrs =
        change:
        mkDerivationWith { inherit cc; } (
          attrs // (if lib.isFunction (change attrs) then change attrs attrs else change attrs)
        );
    };

  platform = {
    inherit system;
    isLinux = true;
    isx86_64 = true;
    isAarch64 = false;
    rust.rustcTarget = "x86_64-unknown-linux-gnu";
  };

  stdenvWith = { cc }: {
    inherit cc system;
    hostPlatform = platform;
    buildPlatform = platform;
    targetPlatform = platform;
    mkDerivation = mkDerivationWith { inherit cc; };
  };
in
rec {
  stdenv = stdenvWith { cc = gcc; };
  stdenvNoCC = stdenvWith { cc = null; };

  runCommandWith =
    mkDerivation: name: env: buildCommand:
    mkDerivation ({ inherit name buildCommand; } // env);
  runCommand = runCommandWith stdenvNoCC.mkDerivation;
  runCommandCC = runCommandWith stdenv.mkDerivation;
  runCommandLocal =
    name: env:
    runCommand name (
      {
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
      // env
    );

  # `nix develop` takes its environment from the derivation, without setup.sh: PATH has to stand there.
  mkShell =
    {
      packages ? [ ],
      nativeBuildInputs ? [ ],
      buildInputs ? [ ],
      inputsFrom ? [ ],
      ...
    }@args:
    let
      inherited = lib.concatMap (package: package.shellInputs or [ ]) inputsFrom;
      inputs = packages ++ nativeBuildInputs ++ buildInputs ++ inherited;
    in
    stdenvNoCC.mkDerivation (
      removeAttrs args [
        "packages"
        "inputsFrom"
        "nativeBuildInputs"
        "buildInputs"
      ]
      // {
        name = args.name or "nix-shell";
        PATH = lib.makeBinPath (inputs ++ [ gcc ] ++ initialPath);
        LIBRARY_PATH = lib.makeLibraryPath (buildInputs ++ inherited);
        buildCommand = "echo $PATH > $out";
      }
    );
}

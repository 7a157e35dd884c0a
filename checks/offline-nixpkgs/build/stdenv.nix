# stdenv.mkDerivation: phases, hooks and outputs as nixpkgs names them, run by setup.sh.
{
  pkgs,
  lib,
  system,
  gcc,
}:
let
  checkMeta = import ./check-meta.nix { inherit lib system; };

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

  # What an input brings: the output that was asked for, or else those that nixpkgs' `dev` refers to.
  inputsOf =
    input:
    if input ? outputs && !(input.outputSpecified or false) then
      map (output: input.${output}) (
        lib.intersectLists [
          "bin"
          "dev"
          "lib"
          "out"
        ] input.outputs
      )
    else
      [ input ];

  environment =
    attrs:
    lib.mapAttrs (
      name: value:
      lib.throwIf (attrs ? ${name})
        "The `env` attribute set cannot contain any attributes passed to derivation: ${name}"
        (
          lib.throwIfNot (lib.isString value || lib.isBool value || lib.isInt value || lib.isDerivation value)
            "The `env` attribute set can only contain derivations, strings, booleans or integers: ${name}"
            value
        )
    ) (attrs.env or { });

  mkDerivationWith =
    { cc }:
    argument:
    let
      attrs = if lib.isFunction argument then lib.fix argument else argument;
      doCheck = attrs.doCheck or false;
      validity = checkMeta attrs;
      outputs = attrs.outputs or [ "out" ];
      given =
        removeAttrs attrs notPassed
        // environment attrs
        // {
          name = attrs.name or "${attrs.pname}-${attrs.version}";
          inherit outputs; # `nix develop` reads that of the environment
          nativeBuildInputs = lib.concatMap inputsOf (
            attrs.nativeBuildInputs or [ ]
            ++ lib.optionals doCheck (attrs.nativeCheckInputs or [ ])
            ++ lib.optional (cc != null) cc
          );
          buildInputs = lib.concatMap inputsOf (
            attrs.buildInputs or [ ] ++ lib.optionals doCheck (attrs.checkInputs or [ ])
          );
        };
      built = derivation (
        {
          inherit system;
          builder = "${pkgs.bash}/bin/bash";
          args = [ ./setup.sh ];
          initialPath = map (package: "${package}/bin") initialPath;
        }
        // given
      );
    in
    lib.extendDerivation validity.handled (
      (attrs.passthru or { })
      // {
        meta = {
          outputsToInstall = import ./outputs-to-install.nix lib outputs;
        }
        // attrs.meta or { }
        // {
          available =
            validity.available
            && attrs.meta.available or true
            && lib.all (input: input.meta.available or true) (lib.flatten (lib.attrValues given));
        };
        overrideAttrs =
          change:
          let
            of = previous: if lib.isFunction change then change previous else change;
          in
          mkDerivationWith { inherit cc; } (
            attrs // (if lib.isFunction (of attrs) then of attrs attrs else of attrs)
          );
      }
    ) built;

  platform = {
    inherit system;
    isLinux = true;
    isx86_64 = true;
    isAarch64 = false;
    rust.rustcTarget = "x86_64-unknown-linux-gnu";
    canExecute = other: other.system == system;
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

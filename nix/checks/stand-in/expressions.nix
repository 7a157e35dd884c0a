# What nixpkgs refuses to evaluate, and what else an evaluation tells.
pkgs:
let
  inherit (pkgs) lib;

  evaluates = value: (builtins.tryEval value).success;
  package = arguments: pkgs.stdenv.mkDerivation ({ name = "rule"; } // arguments);
  refuses =
    meta: !evaluates (package { inherit meta; }).drvPath && !(package { inherit meta; }).meta.available;
  parts = package {
    outputs = [
      "out"
      "bin"
      "extra"
    ];
  };

  called = pkgs.callPackage (
    {
      runCommand,
      text ? "first",
    }:
    runCommand "called" { inherit text; } "echo $text > $out"
  ) { };

  rules = {
    "`callPackage` fills in packages, and the result can be overridden" =
      (called.override { text = "second"; }).text == "second";
    "`overrideAttrs` keeps `override`, and `override` the changed attributes" =
      let
        changed = (called.overrideAttrs { extra = "extra"; }).override { text = "second"; };
      in
      changed.text == "second" && changed.extra == "extra";
    "what is not overridden is the same derivation" =
      (called.override { text = "first"; }).drvPath == called.drvPath;

    "unfree packages are refused" = refuses {
      license = {
        free = false;
        shortName = "unfree";
      };
    };
    "broken packages are refused" = refuses { broken = true; };
    "insecure packages are refused" = refuses { knownVulnerabilities = [ "a hole" ]; };
    "packages for other systems are refused" = refuses { platforms = [ "riscv64-linux" ]; };
    "what depends on a refused package is refused" =
      !evaluates
        (package {
          buildInputs = [ (package { meta.broken = true; }) ];
        }).drvPath;
    "`env` takes no list" = !evaluates (package { env.list = [ ]; }).drvPath;
    "`env` takes no name that is an attribute" =
      !evaluates
        (package {
          text = "";
          env.text = "";
        }).drvPath;

    "an environment takes `bin` rather than `out`" = parts.meta.outputsToInstall == [ "bin" ];
    "an output that was asked for is no other" =
      parts.extra.outputSpecified
      && lib.getBin parts.extra == parts.extra
      && lib.getBin parts == parts.bin;
    "`out` lacks programs where `bin` has them" =
      lib.all (name: pkgs.${name}.outPath == pkgs.${name}.bin.outPath)
        [
          "curl"
          "jq"
          "openssl"
          "sqlite"
        ];
    "programs are in the output that `lib.getExe` names" = lib.hasPrefix "${pkgs.jq.bin}/" (
      lib.getExe pkgs.jq
    );

    "sets of files hold no path that is missing" =
      !evaluates "${lib.fileset.toSource {
        root = ./.;
        fileset = lib.fileset.unions [ ./missing ];
      }}";
  }
  # Asked of the stand-in only: the pinned release of nixpkgs still warns of some, and those after it throw.
  // lib.optionalAttrs (pkgs.isStandIn or false) (
    lib.mapAttrs' (name: value: lib.nameValuePair "the old name ${name} is refused" (!evaluates value))
      {
        inherit (pkgs)
          buildPlatform
          fetchFromGithub
          hostPlatform
          jdk23_headless
          nettools
          nixfmt-rfc-style
          nodePackages
          python2
          system
          targetPlatform
          ;
      }
  );
  broken = lib.attrNames (lib.filterAttrs (_: holds: !holds) rules);
in
pkgs.runCommand "expressions" { broken = lib.concatLines broken; } ''
  echo -n "$broken" | sed 's/^/It does not hold that /'
  [ -z "$broken" ]
  touch $out
''

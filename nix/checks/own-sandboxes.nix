# What another flake may give mkServer: definitions and package sets as files, as functions of the package set or as sets of keys,
# and ours with changes.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  file = ../docs/example.nix;
  lua = import file pkgs;

  other = server.package.mkServer {
    sandboxes = own: {
      inherit (own) python shell;
      changed = own.python // {
        timeout = 120;
      };
      as-file = file;
      as-function = import file;
      as-set = lua;
    };
    packageSets =
      own:
      own
      // {
        archivers = {
          description = "Archivers";
          from = pkgs;
          names = [
            "xz"
            "zip"
          ];
          searchPaths.PATH = "bin";
        };
      };
  };
  refused = server.package.mkServer {
    sandboxes = own: {
      misspelt = own.python // {
        timeouts = 120;
      };
    };
  };

  misspelt = import ../lib/definition.nix {
    id = "lua";
    definition = lua // {
      timeouts = 120;
    };
  } pkgs;

  inherit (other) definitions environments;
  ids = [
    "as-file"
    "as-function"
    "as-set"
  ];
  withoutId = id: removeAttrs definitions.${id} [ "id" ];
  evaluates = value: (builtins.tryEval (builtins.deepSeq value null)).success;
  # What the server's builder does not evaluate, since it is not this repository's.
  others = other.derivations.others;

  rules = {
    "a definition is the same as a file, a function and a set" = lib.all (
      id: withoutId id == withoutId "as-set"
    ) ids;
    "a definition's defaults are filled in" = (withoutId "as-set").user == "sandbox";
    "a changed key is changed" = definitions.changed.timeout == 120;
    "no other key of that definition is" =
      removeAttrs definitions.changed [
        "id"
        "timeout"
      ] == removeAttrs server.definitions.python [
        "id"
        "timeout"
      ];
    "what is left out is not there" = !definitions ? go;
    "an unchanged definition has the same environment" =
      environments.python.drvPath == server.environments.python.drvPath;
    "the builder evaluates what is unchanged" =
      lib.attrNames others.environments == ids ++ [ "changed" ];
    "the builder evaluates package sets that are unchanged" =
      lib.attrNames others.packageSets == [ "archivers" ];
    "a package set may be a set" =
      lib.attrNames other.packages.archivers.packages == [
        "xz"
        "zip"
      ];
    "a misspelt key is refused" = !evaluates refused.definitions.misspelt;
    "a refusal names the attribute" =
      lib.all (lib.hasPrefix "sandboxes.lua: timeouts: unknown key") misspelt.problems;
    "a changed sandbox gives another server" = other.package.drvPath != server.package.drvPath;
    "the server can be compiled in another way" =
      let
        rust = server.rust.override {
          rustPlatform = pkgs.rustPlatform // {
            buildRustPackage =
              arguments: pkgs.rustPlatform.buildRustPackage (arguments // { another = "way"; });
          };
        };
      in
      (server.package.override { inherit rust; }).another == "way";
    "the server can be made from another manifest" =
      (server.package.override { inherit (other) manifest; }).drvPath == other.package.drvPath;
  };
  broken = lib.attrNames (lib.filterAttrs (_: holds: !holds) rules);
in
pkgs.runCommand "own-sandboxes" { broken = lib.concatLines broken; } ''
  echo -n "$broken" | sed 's/^/It does not hold that /'
  [ -z "$broken" ]
  touch $out
''

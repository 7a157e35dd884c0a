# Arguments of mkServer that are refused, each with all that is said of them.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  inherit (import ../lib/arguments.nix) problems resultProblems;
  inherit (import ../lib) mkServer;

  own = "or a function that makes one from this flake's own (without it, these are taken)";
  definitions = "mkServer.sandboxes: must be a set of definitions, ${own}, but is";
  sets = "mkServer.packageSets: must be a set of package sets, ${own}, but is";
  system = "the name of a system, such as \"x86_64-linux\"";
  nixpkgs = {
    legacyPackages.x86_64-linux = pkgs;
  };

  refusals = [
    {
      arguments = {
        inherit pkgs;
        sandboxes = null;
        packageSets = [ ];
      };
      said = [
        "${sets} a list"
        "${definitions} null"
      ];
    }
    {
      arguments = {
        inherit pkgs;
        sandboxes = "perl";
      };
      said = [ "${definitions} \"perl\"" ];
    }
    {
      arguments = {
        inherit pkgs;
        sandbox = { };
      };
      said = [
        "mkServer.sandbox: unknown key; mkServer has nixpkgs, packageSets, pkgs, sandboxes, system"
      ];
    }
    {
      arguments.pkgs = ./.;
      said = [ "mkServer.pkgs: must be a package set: nixpkgs, imported, but is a path" ];
    }
    {
      arguments = {
        nixpkgs = { };
        system = 7;
      };
      said = [
        "mkServer.nixpkgs: must be a flake of nixpkgs, which has legacyPackages, but is a set"
        "mkServer.system: must be ${system}, but is 7"
      ];
    }
    {
      arguments = { inherit nixpkgs; };
      said = [ "mkServer.system: missing; with nixpkgs, it is ${system}" ];
    }
    {
      arguments = {
        inherit nixpkgs;
        system = "x86_64-lunix";
      };
      said = [ "mkServer.system: nixpkgs has none called \"x86_64-lunix\"; it has x86_64-linux" ];
    }
    {
      arguments = { };
      said = [ "mkServer: takes either pkgs, or nixpkgs and system" ];
    }
    {
      arguments = {
        inherit pkgs nixpkgs;
      };
      said = [ "mkServer: takes either pkgs, or nixpkgs and system" ];
    }
  ];
  evaluates = value: (builtins.tryEval value).success;
  isRefused = { arguments, said }: problems arguments == said && !evaluates (mkServer arguments);

  withList = mkServer {
    inherit pkgs;
    sandboxes = own: lib.attrValues own;
  };
  wrong =
    map (refusal: lib.concatLines (refusal.said ++ [ "but is:" ] ++ problems refusal.arguments)) (
      lib.filter (refusal: !isRefused refusal) refusals
    )
    ++ lib.optional (evaluates withList.definitions) "a function that returns a list is not refused"
    ++ lib.optional (
      resultProblems "sandboxes" [ ] != [
        "what the function mkServer.sandboxes returns: must be a set, but is a list"
      ]
    ) "the refusal of a function that returns a list does not say so";
in
pkgs.runCommand "arguments" { wrong = lib.concatLines wrong; } ''
  echo -n "$wrong"
  [ -z "$wrong" ]
  touch $out
''

# Definitions that are refused: each file of refusals/ begins with all that is said of it.
{ pkgs, server }:
let
  inherit (pkgs) lib;

  names = lib.remove "good.nix" (lib.attrNames (builtins.readDir ./refusals));
  check =
    name:
    let
      file = ./refusals + "/${name}";
      id = lib.removeSuffix ".nix" name;
      definition = import ../lib/definition.nix {
        inherit id;
        definition = file;
      } pkgs;
      expected = map (
        line: lib.replaceStrings [ "{bash}" ] [ "${pkgs.bash}" ] (lib.removePrefix "# " line)
      ) (lib.filter (lib.hasPrefix "# ") (lib.splitString "\n" (lib.readFile file)));
    in
    lib.optional (definition.problems != expected) ''
      ${name} must be refused with
      ${lib.concatLines expected}but is with
      ${lib.concatLines definition.problems}
    ''
    ++ lib.optional (builtins.tryEval definition.value).success "${name} is not refused";

  wrong = lib.concatMap check names;
in
pkgs.runCommand "refusals" { wrong = lib.concatLines wrong; } ''
  echo -n "$wrong"
  [ -z "$wrong" ]
  touch $out
''

# A set of packages that calls may ask for by name, each an environment of its own: what a call asks for is joined to its view.
#
# The file of a set is a function from the package set to
#
#   description   what the packages are
#   from          where they are looked up: nixpkgs, or a set in it
#   names         their names there
#   renamed       names of more of them, and the attribute path of each there
#   paths         what of the store a package is linked from; itself, unless the set says otherwise
#   searchPaths   the environment variables that lead programs to them, and the directory of a package that each names
#
# A package that can't be evaluated is left out, since a server is to be had from any nixpkgs, on any system: another
# revision may lack it, or forbid it there. nix/checks/packages.nix fails where that is not meant. For the same reason packages are
# given by name: `inherit (pkgs) name;` of a name that is missing fails in a way that can't be caught.
{ id, file }:
pkgs:
let
  inherit (builtins)
    attrNames
    attrValues
    baseNameOf
    concatStringsSep
    filter
    isAttrs
    isFunction
    mapAttrs
    tryEval
    ;
  inherit (pkgs) lib;
  inherit (import ./schema.nix)
    default
    listOf
    matching
    record
    scalar
    setOf
    ;

  text = scalar "a string that is not empty" (value: builtins.isString value && value != "");
  schema = record {
    description = text;
    from = scalar "a set" isAttrs;
    names = listOf text;
    renamed = default { } (setOf "a name" "[A-Za-z0-9][A-Za-z0-9+._-]*" text);
    paths = default (package: [ package ]) (scalar "a function" isFunction);
    searchPaths = setOf "the name of an environment variable" "[A-Za-z_][A-Za-z0-9_]*" (
      matching "a directory within a package, such as lib/node_modules" "[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"
    );
  };
  given = import file pkgs;
  problems = schema.problems "" given;
  set =
    if problems == [ ] then
      schema.complete given
    else
      throw (
        concatStringsSep "\n" (map (problem: "package-sets/${baseNameOf file}: ${problem}") problems)
      );

  attributes = lib.genAttrs set.names (name: name) // set.renamed;
  find =
    path:
    lib.attrByPath (lib.splitString "." path) (throw "there is no package named ${path}") set.from;

  all = mapAttrs (
    name: attribute:
    let
      package = find attribute;
    in
    {
      version = package.version or "";
      description = package.meta.description or "";
      environment = import ./closed.nix pkgs {
        name = "sandbox-mcp-${id}-${name}";
        paths = set.paths package;
        pathsToLink = map (directory: "/${directory}") (attrValues set.searchPaths);
      };
    }
  ) attributes;
  leftOut = filter (name: !(tryEval all.${name}.environment.drvPath).success) (attrNames all);
in
{
  inherit (set) description searchPaths;
  packages = removeAttrs all leftOut;
  inherit leftOut;
}

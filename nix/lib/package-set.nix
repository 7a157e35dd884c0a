# A set of packages that calls may ask for by name, each an environment of its own: what a call asks for is joined to its view.
#
# A package that can't be evaluated is left out, so that the server builds with any nixpkgs, on any system: another
# revision may lack it, or forbid it there. nix/checks/packages.nix fails where that is not meant.
{ id, set }:
pkgs:
let
  inherit (builtins)
    attrNames
    attrValues
    concatStringsSep
    filter
    mapAttrs
    tryEval
    ;
  inherit (pkgs) lib;
  inherit (import ./resolve.nix pkgs) keys nameOf;
  schema = import ./package-set-keys.nix pkgs;

  given = keys set;
  problems = schema.problems "" given;
  inherit
    (
      if problems == [ ] then
        schema.complete given
      else
        throw (
          concatStringsSep "\n" (map (problem: "${nameOf "packageSets.${id}" set}: ${problem}") problems)
        )
    )
    description
    from
    names
    paths
    provided
    provides
    renamed
    searchPaths
    ;

  find =
    path: lib.attrByPath (lib.splitString "." path) (throw "there is no package named ${path}") from;
  all = mapAttrs (
    name: path:
    let
      package = find path;
    in
    {
      version = package.version or "";
      description = package.meta.description or "";
      provides = lib.naturalSort (lib.unique (provided package ++ provides.${name} or [ ]));
      environment = import ./closed.nix pkgs {
        name = "sandbox-mcp-${id}-${name}";
        paths = paths package;
        pathsToLink = map (directory: "/${directory}") (attrValues searchPaths);
      };
    }
  ) (lib.genAttrs names (name: name) // renamed);
  leftOut = filter (name: !(tryEval all.${name}.environment.drvPath).success) (attrNames all);
in
{
  inherit description leftOut searchPaths;
  packages = removeAttrs all leftOut;
}

# From definitions to a server. Another flake adds sandboxes of its own by
#
#     sandbox-mcp.lib.mkServer {
#       inherit pkgs;
#       sandboxes = sandbox-mcp.lib.sandboxes // { perl = ./perl.nix; };
#     }
let
  inherit (builtins)
    attrNames
    concatMap
    head
    listToAttrs
    mapAttrs
    match
    readDir
    ;

  definitionFiles =
    dir:
    listToAttrs (
      concatMap (
        entry:
        let
          id = match "(.*)[.]nix" entry;
        in
        if id == null then
          [ ]
        else
          [
            {
              name = head id;
              value = dir + "/${entry}";
            }
          ]
      ) (attrNames (readDir dir))
    );

  ownSandboxes = definitionFiles ./..;
  ownPackageSets = definitionFiles ../packages;
in
{
  # The definition file of every sandbox, by its id: a file nix/<id>.nix is the sandbox <id>.
  sandboxes = ownSandboxes;
  # The file of every set of packages that calls may ask for, likewise: nix/packages/<id>.nix is the set <id>.
  packageSets = ownPackageSets;

  mkServer =
    {
      pkgs,
      sandboxes ? ownSandboxes,
      packageSets ? ownPackageSets,
    }:
    rec {
      definitions = mapAttrs (
        id: file: (import ./definition.nix { inherit id file; } pkgs).value
      ) sandboxes;
      environments = mapAttrs (_: import ./environment.nix pkgs) definitions;
      packages = mapAttrs (id: file: import ./package-set.nix { inherit id file; } pkgs) packageSets;
      manifest = import ./manifest.nix {
        inherit
          pkgs
          definitions
          environments
          packages
          ;
      };
      portableManifest = import ./manifest.nix { inherit pkgs definitions; };
      package = import ./package.nix { inherit pkgs manifest; };
      tests = import ./tests.nix { inherit pkgs; };
    };
}

# From definitions to a server. Another flake adds sandboxes of its own by
#
#     sandbox-mcp.lib.mkServer {
#       inherit nixpkgs system;
#       sandboxes = sandbox-mcp.lib.sandboxes // { perl = ./perl.nix; };
#     }
let
  inherit (builtins)
    attrNames
    concatMap
    filter
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
  ownPackageSets = definitionFiles ../package-sets;
  # The ids that stand for the same file in both.
  common = own: given: filter (id: own.${id} or null == given.${id}) (attrNames given);

  server =
    {
      pkgs,
      nixpkgs,
      sandboxes,
      packageSets,
    }:
    rec {
      definitions = mapAttrs (
        id: file: (import ./definition.nix { inherit id file; } pkgs).value
      ) sandboxes;
      environments = mapAttrs (_: import ./environment.nix pkgs) definitions;
      packages = mapAttrs (id: file: import ./package-set.nix { inherit id file; } pkgs) packageSets;
      derivations = import ./derivations.nix {
        inherit
          pkgs
          nixpkgs
          environments
          packages
          ;
        own = {
          sandboxes = common ownSandboxes sandboxes;
          packageSets = common ownPackageSets packageSets;
        };
      };
      manifest = import ./manifest.nix { inherit pkgs definitions derivations; };
      portableManifest = import ./manifest.nix { inherit pkgs definitions; };
      package = import ./package.nix { inherit pkgs manifest; };
      tests = import ./tests.nix { inherit pkgs; };
    };
in
{
  # The definition file of every sandbox, by its id: a file nix/<id>.nix is the sandbox <id>.
  sandboxes = ownSandboxes;
  # The file of every set of packages that calls may ask for, likewise: nix/package-sets/<id>.nix is the set <id>.
  packageSets = ownPackageSets;

  mkServer =
    {
      # Either a package set;
      pkgs ? null,
      # or a flake of nixpkgs and a system, for the package set that this flake has for it. What this directory defines is then
      # evaluated when the server is built, and not each time that the flake is.
      nixpkgs ? null,
      system ? null,
      sandboxes ? ownSandboxes,
      packageSets ? ownPackageSets,
    }:
    if (pkgs == null) != (nixpkgs == null) then
      server {
        pkgs = if nixpkgs == null then pkgs else nixpkgs.legacyPackages.${system};
        inherit nixpkgs sandboxes packageSets;
      }
    else
      throw "mkServer takes either pkgs, or nixpkgs and system";
}

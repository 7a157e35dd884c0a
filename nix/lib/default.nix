# From definitions to a server. Another flake adds sandboxes of its own, or changes ours, by
#
#     sandbox-mcp.lib.mkServer {
#       inherit nixpkgs system;
#       sandboxes = own: own // {
#         perl = ./perl.nix;
#         python = own.python // { timeout = 120; };
#       };
#     }
let
  inherit (builtins)
    attrNames
    concatMap
    filter
    head
    isFunction
    listToAttrs
    mapAttrs
    match
    readDir
    ;
  inherit (import ./arguments.nix) problems resultProblems unless;

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

  # What mkServer is given, with our own files in place of those that were only passed through.
  select =
    pkgs: name: files: given:
    if isFunction given then
      let
        own = mapAttrs (_: (import ./resolve.nix pkgs).keys) files;
        # Values in lists are not compared any further where they are the same ones.
        isUnchanged = id: value: own ? ${id} && [ own.${id} ] == [ value ];
        made = given own;
      in
      mapAttrs (id: value: if isUnchanged id value then files.${id} else value) (
        unless (resultProblems name made) made
      )
    else
      given;
  # The ids that stand for one of these files.
  common = files: given: filter (id: files.${id} or null == given.${id}) (attrNames given);

  mkServer = arguments: unless (problems arguments) (checked arguments);

  checked =
    {
      # Either a package set;
      pkgs ? null,
      # or a flake of nixpkgs and a system, for the package set that this flake has for it. What this directory defines is then
      # evaluated when the server is built, and not each time that the flake is.
      nixpkgs ? null,
      system ? null,
      # Definitions by id, or a function that makes them from ours. Each is a file, a function of the package set, or a set of keys.
      sandboxes ? ownSandboxes,
      # Likewise.
      packageSets ? ownPackageSets,
    }@arguments:
    server {
      pkgs = if nixpkgs == null then pkgs else nixpkgs.legacyPackages.${system};
      inherit
        arguments
        nixpkgs
        packageSets
        sandboxes
        ;
    };

  server =
    {
      arguments,
      pkgs,
      nixpkgs,
      sandboxes,
      packageSets,
    }:
    let
      given = {
        sandboxes = select pkgs "sandboxes" ownSandboxes sandboxes;
        packageSets = select pkgs "packageSets" ownPackageSets packageSets;
      };
      definitions = mapAttrs (
        id: definition: (import ./definition.nix { inherit id definition; } pkgs).value
      ) given.sandboxes;
      environments = mapAttrs (_: import ./environment.nix pkgs) definitions;
      packages = mapAttrs (id: set: import ./package-set.nix { inherit id set; } pkgs) given.packageSets;
      derivations = import ./derivations.nix {
        inherit
          pkgs
          nixpkgs
          environments
          packages
          ;
        own = {
          sandboxes = common ownSandboxes given.sandboxes;
          packageSets = common ownPackageSets given.packageSets;
        };
      };
      manifest = import ./manifest.nix { inherit pkgs definitions derivations; };
      rust = pkgs.callPackage ./rust.nix { };
    in
    {
      inherit
        definitions
        derivations
        environments
        manifest
        packages
        rust
        ;
      portableManifest = import ./manifest.nix { inherit pkgs definitions; };
      # With this package set again, and other sandboxes: `package.mkServer { sandboxes = …; }`.
      package = (pkgs.callPackage ./package.nix { inherit rust manifest; }).overrideAttrs (previous: {
        passthru = previous.passthru or { } // {
          mkServer = others: mkServer (arguments // others);
        };
      });
      docs = import ../docs { inherit pkgs definitions; };
      tests = pkgs.callPackage ./tests.nix { inherit rust; };
    };
in
{
  inherit mkServer;

  # The definition file of every sandbox, by its id: a file nix/<id>.nix is the sandbox <id>.
  sandboxes = ownSandboxes;
  # The file of every set of packages that calls may ask for, likewise: nix/package-sets/<id>.nix is the set <id>.
  packageSets = ownPackageSets;
}

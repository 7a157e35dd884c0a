# The manifest: what build.rs compiles the server from. Its contract is src/manifest.rs.
#
# Without a system it is the portable one, which holds no store paths and is kept in the repository, for a build without Nix.
{
  pkgs,
  definitions,
  environments ? null,
  # The sets of packages that calls may ask for.
  packages ? { },
}:
let
  manifest = {
    format = 1;
    system = if environments == null then null else pkgs.stdenv.hostPlatform.system;
    sandboxes = builtins.mapAttrs (id: definition: {
      definition = removeAttrs definition [ "packages" ];
      tool = import ./tool.nix definition;
      environment = if environments == null then null else pinned environments.${id};
    }) definitions;
    packageSets = builtins.mapAttrs (_: set: {
      inherit (set) description searchPaths;
      packages = builtins.mapAttrs (_: package: {
        inherit (package) version description;
        environment = pinned package.environment;
      }) set.packages;
    }) packages;
  };

  # The manifest depends on the .drv file and what realises it, but neither on the output nor on what the output needs: a
  # server is installed without its environments, and still can realise them.
  pinned = environment: {
    drv = builtins.unsafeDiscardOutputDependency environment.drvPath;
    out = builtins.unsafeDiscardStringContext environment.outPath;
  };
in
pkgs.runCommand "sandbox-mcp-manifest.json"
  {
    nativeBuildInputs = [ pkgs.jq ];
    json = builtins.toJSON manifest;
    passAsFile = [ "json" ];
    # On another machine the .drv files would have to be copied there first.
    preferLocalBuild = true;
  }
  ''
    jq --sort-keys . $jsonPath > $out
  ''

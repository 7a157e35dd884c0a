# The manifest: what build.rs compiles the server from. Its contract is src/manifest/src/lib.rs.
#
# Without a system it is the portable one, which holds no store paths and is kept in the repository, for a build without Nix.
{
  pkgs,
  definitions,
  # What derivations.nix gives.
  derivations ? null,
}:
let
  manifest = {
    format = 1;
    system = if derivations == null then null else pkgs.stdenv.hostPlatform.system;
    sandboxes = builtins.mapAttrs (_: definition: {
      # The server realises the environment, which is all that it needs to know of them.
      definition = removeAttrs definition [ "packages" ];
    }) definitions;
  }
  // (
    if derivations == null then
      { }
    else
      {
        archive = "${derivations}/archive";
        # A set of packages that somebody has put together may lack the function.
        nixpkgs = (pkgs.lib.trivial.revisionWithDefault or (default: default)) null;
      }
  );
in
pkgs.runCommand "sandbox-mcp-manifest.json"
  {
    nativeBuildInputs = [ pkgs.jq ];
    json = builtins.toJSON manifest;
    index = builtins.toJSON (
      if derivations == null then import ./index.nix { } else derivations.others
    );
    passAsFile = [
      "json"
      "index"
    ];
    evaluated = if derivations == null then "/dev/null" else "${derivations}/index.json";
    preferLocalBuild = true;
  }
  ''
    # What sets lack is for nix/checks/packages.nix to tell.
    jq --sort-keys --slurpfile index $indexPath --slurpfile evaluated $evaluated '
      ($index[0] * ($evaluated[0] // {})) as $index
      | .packageSets = ($index.packageSets | map_values(del(.leftOut)))
      | .sandboxes |= with_entries(.value.environment = $index.environments[.key])
    ' $jsonPath > $out
  ''

# Sources of GitHub, from the store alone: their trees are brought there by hand, named `source`, with
#
#     nix-store --add-fixed --recursive sha256 source
#
# `collect sources` finds out which are there.
#
# Of some, Debian has what is as good for our ends, in whatever version.
{
  pkgs,
  lib,
  programs,
}:
let
  standIns = with programs; {
    "chalk/chalk" = "${node-chalk}/share/nodejs/chalk";
    "lodash/lodash" = "${node-lodash}/share/nodejs/lodash";
    "npm/node-semver" = "${node-semver}/share/nodejs/semver";
    "tj/commander.js" = "${node-commander}/share/nodejs/commander";
  };
  found = if lib.pathExists ../sources.json then lib.importJSON ../sources.json else [ ];
in
{
  fetchFromGitHub =
    {
      owner,
      repo,
      rev,
      hash,
    }:
    standIns."${owner}/${repo}" or (
      derivation {
        name = "source";
        inherit (pkgs.stdenv.hostPlatform) system;
        outputHashMode = "recursive";
        outputHash = hash;
        builder = "${pkgs.bash}/bin/bash";
        args = [
          "-c"
          "echo 'The tree of ${owner}/${repo} at ${rev} is not in the store.'; exit 1"
        ];
      }
      // {
        # As with nixpkgs, what can't be built says so.
        meta.available = lib.elem hash found;
      }
    );
}

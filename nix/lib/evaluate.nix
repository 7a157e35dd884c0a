# What the builder of derivations.nix evaluates: environments and packages on demand of this directory, as the flake would, with
# the nixpkgs that is given to it as a store path.
{
  nixpkgs,
  # JSON: what the flake knows of nixpkgs besides, and the ids of what is wanted.
  sourceInfo,
  own,
  system,
}:
let
  inherit (builtins)
    fromJSON
    intersectAttrs
    listToAttrs
    mapAttrs
    ;
  inherit (import ./.) mkServer packageSets sandboxes;

  flake =
    (import (nixpkgs + "/flake.nix")).outputs { self = flake; }
    // fromJSON sourceInfo
    // {
      outPath = nixpkgs;
    };
  wanted = mapAttrs (
    _: ids:
    listToAttrs (
      map (name: {
        inherit name;
        value = null;
      }) ids
    )
  ) (fromJSON own);

  server = mkServer {
    pkgs = flake.legacyPackages.${system};
    sandboxes = intersectAttrs wanted.sandboxes sandboxes;
    packageSets = intersectAttrs wanted.packageSets packageSets;
  };
in
import ./index.nix { inherit (server) environments packages; }

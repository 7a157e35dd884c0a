# The derivations that the server realises, in one file that it carries with it.
#
#   archive      .drv files and all that those refer to: a directory like a store, as a compressed Nix archive
#   index.json   the environments and the packages on demand that were evaluated here, as index.nix has them
#
# Those evaluated elsewhere are the attribute `others`: a file that named its derivations would refer to them.
#
# What builds these are thousands of derivations. Evaluating them takes longer than the rest of the flake, and a server
# needs none of them until a call asks for it. So neither does the flake evaluate them nor does the store keep them: this
# builder evaluates them in a store of its own, where they have the same paths.
#
# That takes the flake of nixpkgs. Of a package set that was made in some other way, the flake evaluates them, and this builder only
# packs them; so it is with what other files than this directory's define.
{
  pkgs,
  # The flake that `pkgs` is of, or null.
  nixpkgs,
  # By id.
  environments,
  packages,
  # The ids of this directory's own sandboxes and packageSets among them.
  own,
}:
let
  inherit (pkgs) lib;
  inherit (lib.fileset) difference toSource unions;

  isEvaluatedHere = nixpkgs != null;
  others = {
    environments = if isEvaluatedHere then removeAttrs environments own.sandboxes else environments;
    packages = if isEvaluatedHere then removeAttrs packages own.packageSets else packages;
  };
  packed =
    lib.attrValues others.environments
    ++ map (package: package.environment) (
      lib.concatMap (set: lib.attrValues set.packages) (lib.attrValues others.packages)
    );

  evaluate = {
    source = toSource {
      root = ../.;
      fileset = difference ../. (unions [
        ../checks
        ../docs
        ../manifest.json
        ../modules
      ]);
    };
    nixpkgs = nixpkgs.outPath;
    sourceInfo = builtins.toJSON (
      lib.optionalAttrs (nixpkgs ? rev) { inherit (nixpkgs) rev shortRev lastModifiedDate; }
    );
    platform = pkgs.stdenv.hostPlatform.system;
    own = builtins.toJSON own;
  };
in
pkgs.runCommand "sandbox-mcp-derivations"
  (
    {
      nativeBuildInputs = [
        pkgs.jq
        pkgs.nix
        pkgs.zstd
      ];
      closure = ./closure.awk;
      # The .drv files and what they refer to, but nothing that they would make.
      packed = map (environment: builtins.unsafeDiscardOutputDependency environment.drvPath) packed;
      passthru.others = import ./index.nix others;

      # A reference to a .drv file would have it installed with the server.
      allowedReferences = [ ];
      # On another machine the .drv files would have to be copied there first.
      preferLocalBuild = true;
    }
    // lib.optionalAttrs isEvaluatedHere evaluate
  )
  ''
    export HOME=$TMPDIR NIX_CONF_DIR=$TMPDIR NIX_PATH= LC_ALL=C
    store=$TMPDIR/store
    mkdir -p $store/nix/store archive $out
    echo '{}' > $out/index.json

    ${lib.optionalString isEvaluatedHere ''
      echo 'evaluating the environments and the packages on demand'
      nix-instantiate --store $store --option fsync-metadata false --option build-users-group "" \
        --eval --strict --json --read-write-mode $source/lib/evaluate.nix --argstr nixpkgs $nixpkgs \
        --argstr sourceInfo "$sourceInfo" --argstr own "$own" --argstr system $platform |
        jq --sort-keys . > $out/index.json
    ''}

    echo 'packing the derivations'
    # The builder sees those that the flake has evaluated, but no database knows of them here.
    awk -f $closure /nix/store $packed | sed 's,^,/nix/store/,' |
      xargs --no-run-if-empty cp -r --no-dereference --no-clobber --target-directory $store/nix/store
    evaluated=$(jq --raw-output '.. | .drv? // empty' $out/index.json)
    awk -f $closure $store/nix/store $packed $evaluated |
      sed "s,^,$store/nix/store/," > paths
    xargs cp -r --no-dereference --target-directory archive < paths
    nix-store --dump archive | zstd -15 --long=25 > $out/archive
    du -h --apparent-size $out/archive
    echo "packed $(grep --count '[.]drv$' paths) derivations and $(grep --count --invert-match '[.]drv$' paths) sources"
  ''

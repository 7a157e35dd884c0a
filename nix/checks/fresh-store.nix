# The package brings the .drv files of its environments and no toolchain: in a store that received nothing but the package, Nix
# realises an environment from them, here from a binary cache since there is no network to get sources from.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  inherit (builtins) unsafeDiscardStringContext;
  environments = lib.attrValues server.environments ++ packages;
  packages = lib.concatMap (set: map (package: package.environment) (lib.attrValues set.packages)) (
    lib.attrValues server.packages
  );

  # As text only: the check would depend on what it names.
  paths = packages: unsafeDiscardStringContext (toString packages);

  packagePaths = import ./registration.nix { inherit pkgs; } [ server.package ];
in
pkgs.runCommand "fresh-store"
  {
    nativeBuildInputs = [ pkgs.nix ];
    inherit (server) package;
    # The smallest, to be realised.
    inherit (server.environments) shell;
    shellDrv = unsafeDiscardStringContext server.environments.shell.drvPath;
    drvs = paths (map (environment: environment.drvPath) environments);
    toolchains = paths (
      environments ++ lib.concatMap (definition: definition.packages) (lib.attrValues server.definitions)
    );
  }
  ''
    export HOME=$TMPDIR NIX_CONFIG='
      experimental-features = nix-command
      require-sigs = false
      substituters =
    '

    # A store that holds the package and the environment, with what they refer to.
    all=$TMPDIR/all
    mkdir -p $all/nix/store
    cp -r /nix/store/* $all/nix/store/
    nix-store --store $all --register-validity < ${packagePaths}
    nix-store --store $all --load-db < ${
      pkgs.closureInfo { rootPaths = [ server.environments.shell ]; }
    }/registration

    fresh=$TMPDIR/fresh cache=file://$TMPDIR/cache
    nix copy --from $all --to $fresh $package
    nix copy --from $all --to "$cache?compression=none" $shell

    for drv in $drvs; do
      [ -e $fresh$drv ] || { echo "$drv did not come with the package"; exit 1; }
    done
    for toolchain in $toolchains; do
      [ ! -e $fresh$toolchain ] || { echo "$toolchain came with the package"; exit 1; }
    done

    # Nothing may be built: not even the machine's own store is of help.
    nix-store --store $fresh --realise $shellDrv --option substituters $cache --max-jobs 0
    cmp $shell/closure $fresh$shell/closure
    nix-store --store $fresh --check-validity $shell $(cat $shell/closure)
    touch $out
  ''

# The package brings neither a toolchain nor a .drv file, and is small: in a store that received nothing else, the server adds the
# derivations that it carries with it and realises an environment and a package on demand. Since there is no network to get
# sources from, both come from a binary cache.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  inherit (server.environments) shell;
  lua = server.packages.commands.packages.lua.environment;
in
pkgs.runCommand "fresh-store"
  {
    nativeBuildInputs = [
      pkgs.bubblewrap
      pkgs.nix
    ];
    # What builders have anyway is there too.
    registration = import ./registration.nix { inherit pkgs; } [
      pkgs.bubblewrap
      pkgs.nix
      server.package
    ];
    closure = pkgs.closureInfo { rootPaths = [ server.package ]; };
    realised = pkgs.closureInfo {
      rootPaths = [
        shell
        lua
      ];
    };
    inherit shell lua;
    shellDrv = builtins.unsafeDiscardStringContext shell.drvPath;
    server = lib.getExe server.package;
  }
  ''
    cat $closure/store-paths
    if grep '[.]drv$' $closure/store-paths; then
      echo 'these derivations come with the package'
      exit 1
    fi
    size=$(stat --format %s "$(readlink -f $server)")
    [ $size -lt 20000000 ] || { echo "the server has $size bytes"; exit 1; }

    export HOME=$TMPDIR cache=file://$TMPDIR/cache
    printf '%s\n' /nix/store/* > seen
    bash ${./own-store.sh} seen bash -euo pipefail -c '
      nix-store --load-db < $realised/registration
      nix copy --to "$cache?compression=none" $shell $lua
    '
    # Nothing may be built.
    export NIX_CONFIG="
      extra-substituters = $cache
      max-jobs = 0
    "
    echo 'lua -e "print(6 * 7)"' > main.sh
    grep ^/nix/store/ $registration | sort -u > registered
    bash ${./own-store.sh} registered bash -euo pipefail -c '
      bash ${./register.sh} $registration
      [ ! -e $shell ] && [ ! -e $lua ] && [ ! -e $shellDrv ]
      $server run --executor namespace -p lua shell main.sh | tee printed
      grep -qx 42 printed
      nix-store --check-validity $shell $lua $shellDrv
      ls /nix/store/*.drv | wc -l
    '
    touch $out
  ''

# An exported receipt in a store that has the server's package, a Nix, and nothing of the environment: what the call printed
# where it was first carried out, in namespaces, is what Nix makes of it there. Since there is no network to get sources from, the
# environment comes from a binary cache.
{ pkgs, server }:
let
  inherit (pkgs) lib;
in
pkgs.runCommand "replay"
  {
    nativeBuildInputs = [
      pkgs.bubblewrap
      pkgs.nix
    ];
    registration = import ./registration.nix { inherit pkgs; } [
      pkgs.bubblewrap
      pkgs.nix
      server.package
    ];
    inherit (server.environments) shell;
    environment = pkgs.closureInfo { rootPaths = [ server.environments.shell ]; };
    server = lib.getExe server.package;
  }
  ''
    export HOME=$TMPDIR cache=file://$TMPDIR/cache
    # Nix would not pass on a file with a NUL as it is, so that the derivation does not hold it.
    echo 'tr "\0" 0 < data; echo err >&2; exit 3' > main.sh
    printf 'a\0b\n' > data
    $server run --executor namespace shell main.sh data > stdout || [ $? = 3 ]
    grep -qx a0b stdout
    $server show-derivation shell main.sh data --export receipt

    printf '%s\n' /nix/store/* > seen
    bash ${./own-store.sh} seen bash -euo pipefail -c '
      nix-store --load-db < $environment/registration
      nix copy --to "$cache?compression=none" $shell
    '
    export NIX_CONFIG="
      extra-substituters = $cache
    "
    grep ^/nix/store/ $registration | sort -u > registered
    bash ${./own-store.sh} registered bash -euo pipefail -c '
      bash ${./register.sh} $registration
      [ ! -e $shell ]
      $server reproduce receipt | tee told
      out=$(head -n 1 told)
      cmp stdout $out/stdout
      echo err | cmp - $out/stderr
      grep -qx "exited 3" $out/ending
    '
    touch $out
  ''

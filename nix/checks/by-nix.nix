# Calls as derivations, by a Nix inside of Nix's own sandbox: above all, what a call's receipt gives when Nix realises it is what
# the executor of namespaces has answered.
#
# No builder reaches the machine's Nix. So this one mounts a store of its own over /nix, in which all that it sees is valid.
# Tests that need another user, or a store in layers, are for `cargo test` on a machine.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  environments = with server.environments; [
    network-tools
    python
    shell
  ];
in
pkgs.runCommand "by-nix"
  {
    nativeBuildInputs = [
      pkgs.nix
      pkgs.util-linux
    ];
    packagePaths = import ./package-paths.nix { inherit pkgs server; };
    environmentPaths = pkgs.closureInfo { rootPaths = environments; };
    SANDBOX_MCP_BIN = lib.getExe server.package;
    tests = "${server.tests}/bin/by-nix";
  }
  ''
    export HOME=$TMPDIR NIX_CONFIG='
      experimental-features = nix-command
      build-users-group =
      sandbox = true
      sandbox-fallback = false
      substituters =
    '
    mkdir $TMPDIR/nix
    # The namespace's root mounts, and an ordinary user has the tests run.
    unshare --map-root-user --mount bash -euo pipefail -c '
      mount -t tmpfs -o mode=755 tmpfs $TMPDIR/nix
      mkdir $TMPDIR/nix/store $TMPDIR/nix/var
      for path in /nix/store/*; do
        if [ -d $path ] && [ ! -L $path ]; then
          mkdir $TMPDIR$path
          mount --bind $path $TMPDIR$path
        else
          cp -P $path $TMPDIR$path
        fi
      done
      mount --rbind $TMPDIR/nix /nix
      exec unshare --user --map-user=1000 --map-group=100 bash -euo pipefail -c "
        nix-store --register-validity < $packagePaths
        nix-store --load-db < $environmentPaths/registration
        $tests
      "
    '
    touch $out
  ''

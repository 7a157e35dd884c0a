# The store that some checks make for themselves takes as many paths as the closure of nixpkgs' .drv files has.
{ pkgs, server }:
pkgs.runCommand "own-store" { nativeBuildInputs = [ pkgs.bubblewrap ]; } ''
  mkdir many
  (cd many && seq --format %032.0f-of-many.drv 20000 | xargs touch)
  printf '%s\n' /nix/store/* $PWD/many/* > paths
  bash ${./own-store.sh} paths bash -euo pipefail -c '
    set -x
    [ "$(ls /nix/store | wc -l)" = "$(wc -l < paths)" ]
    [ "$(ls /nix/store | grep -c of-many.drv)" = 20000 ]
    # A mount for each would take minutes.
    [ "$(grep -c of-many.drv /proc/self/mountinfo || true)" = 0 ]
  '
  touch $out
''

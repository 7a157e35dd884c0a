# The portable manifest, from which cargo builds without Nix, is the one that the definitions give.
{ pkgs, server }:
pkgs.runCommand "manifest" { nativeBuildInputs = [ pkgs.diffutils ]; } ''
  if ! diff --unified ${../manifest.json} ${server.portableManifest}; then
    echo 'nix/manifest.json is not what the definitions give. This renews it:'
    echo '    cp "$(nix build --no-link --print-out-paths .#portable-manifest)" nix/manifest.json'
    exit 1
  fi
  touch $out
''

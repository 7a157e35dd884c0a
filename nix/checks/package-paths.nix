# The package's store paths, the .drv files of its environments among them, as `nix-store --register-validity` reads them.
#
# Made where no environment can be seen: the server has their names as text, which is no reference.
{ pkgs, server }:
pkgs.runCommand "package-paths" { inherit (server) package; } ''
  bash ${./visible-paths.sh} > $out
''

# The go command of the environment finds its whole standard library compiled: `go build -v` names what it compiles.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  environment = server.environments.go;
  variables = lib.mapAttrs (
    _: lib.replaceStrings [ "{environment}" ] [ "${environment}" ]
  ) server.definitions.go.variables;
in
pkgs.runCommand "go-build-cache" variables ''
  export HOME=$TMPDIR
  ${environment}/bin/go build -v std 2>&1 | tee compiled
  if [ -s compiled ]; then
    echo 'These were compiled anew, as they would be in every call: nix/pkgs/go-with-build-cache.nix and nix/go.nix disagree.'
    exit 1
  fi
  touch $out
''

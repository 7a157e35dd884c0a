# What an environment is made of: of files with one name, that of the first path, whatever the priorities; no empty directory; and
# a closure that can be read off.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  package =
    name: priority: files:
    pkgs.runCommand name
      {
        inherit files;
        meta = lib.optionalAttrs (priority != null) { inherit priority; };
      }
      ''
        for file in $files; do install -D <(echo ${name}) $out/$file; done
      '';
  # As with nixpkgs' procps and coreutils.
  first = package "first" 11 "bin/kill";
  second = package "second" 10 "bin/kill bin/ls";
in
pkgs.runCommand "closed"
  {
    inherit first second;
    environment = import ../lib/closed.nix pkgs {
      name = "joined";
      paths = [
        first
        second
      ];
      pathsToLink = [
        "/bin"
        "/etc/ssl"
        "/lib/node_modules"
      ];
    };
  }
  ''
    set -x
    grep -x first $environment/bin/kill
    grep -x second $environment/bin/ls
    [ -z "$(find $environment -type d -empty)" ]
    printf '%s\n' $first $second | sort | cmp - $environment/closure
    touch $out
  ''

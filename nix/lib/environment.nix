# The environment of a sandbox: one store path, all of whose closure is what a program sees of the store.
#
#   bin                 the programs of its packages
#   etc/ssl             certificates, which programs find at /etc/ssl
#   lib/node_modules    modules of Node.js, which programs find at /node_modules
#   lib/locale          locales, which a C library finds by LOCALE_ARCHIVE or at /usr/lib/locale
#   share/fonts         fonts, which programs find at /usr/share/fonts
#   share/zoneinfo      time zones, which programs find at /usr/share/zoneinfo and /etc/zoneinfo
#   share/sandbox-mcp   what a package adds for the sandbox's own use; what is in its etc, programs find in /etc
#   closure             the closure without the environment itself: a store path a line, sorted
pkgs: definition:
let
  # What a program may take for granted in every sandbox.
  base = [
    pkgs.bash
    pkgs.coreutils
    pkgs.diffutils
    pkgs.findutils
    pkgs.gawk
    pkgs.glibc.bin
    pkgs.gnugrep
    pkgs.gnused
    pkgs.gnutar
    pkgs.gzip
    pkgs.tzdata.out
    pkgs.which
    # An operator may give any tool access to some hosts.
    (pkgs.callPackage ../pkgs/certificates.nix { })
    (pkgs.callPackage ../pkgs/etc.nix { })
    (pkgs.callPackage ../pkgs/locales.nix { })
  ];
in
import ./closed.nix pkgs {
  name = "sandbox-mcp-${definition.id}";
  # Of programs with one name, the sandbox's own comes before the base's, and before that of a package further on.
  paths = definition.packages ++ base;
  pathsToLink = [
    "/bin"
    "/etc/ssl"
    "/lib/locale"
    "/lib/node_modules"
    "/share/fonts"
    "/share/sandbox-mcp"
    "/share/zoneinfo"
  ];
}

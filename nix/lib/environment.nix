# The environment of a sandbox: one store path, all of whose closure is what a program sees of the store.
#
#   bin                 the programs of its packages
#   etc/ssl             certificates, if a package has them
#   lib/locale          locales, where a C library finds them that does not have C.UTF-8 beside itself
#   share/sandbox-mcp   what a package adds for the sandbox's own use
#   closure             the closure without the environment itself: a store path a line, sorted
pkgs: definition:
let
  name = "sandbox-mcp-${definition.id}";

  # What a program may take for granted in every sandbox.
  base = import ./named.nix ''
    bash coreutils diffutils findutils gawk glibc.bin gnugrep gnused gnutar gzip which
  '' pkgs;

  links = pkgs.buildEnv {
    name = "${name}-links";
    # Of programs with one name, the sandbox's own comes before the base's, and before that of a package further on.
    paths = definition.packages ++ base;
    ignoreCollisions = true;
    pathsToLink = [
      "/bin"
      "/etc/ssl"
      "/lib/locale"
      "/share/sandbox-mcp"
    ];
  };
  closure = pkgs.writeClosure [ links ];
in
# The links are copied because nixpkgs has buildEnv made anew on every machine: its result may not be substituted. An
# environment may, so that a machine without any tool to build with can get it.
pkgs.runCommand name { inherit links closure; } ''
  cp -r --no-dereference --no-preserve=mode $links $out
  grep -vxF $links $closure > $out/closure
''

# Names that nixpkgs has renamed or removed. It throws for each; the pinned release still warns of some.
let
  renamed = {
    buildPlatform = "stdenv.buildPlatform";
    hostPlatform = "stdenv.hostPlatform";
    nettools = "net-tools";
    nixfmt-rfc-style = "nixfmt";
    system = "stdenv.hostPlatform.system";
    targetPlatform = "stdenv.targetPlatform";
  };
  removed = {
    fetchFromGithub = "You meant fetchFromGitHub, with a capital H";
    jdk23_headless = "OpenJDK 23 was removed as it has reached its end of life";
    nodePackages = "nodePackages has been removed. Many packages are now available at the top level";
    python2 = "python2 has been removed; Python 2 is end-of-life. Use `python3` instead.";
  };
in
builtins.mapAttrs (name: new: throw "'${name}' has been renamed to/replaced by '${new}'") renamed
// builtins.mapAttrs (_: throw) removed

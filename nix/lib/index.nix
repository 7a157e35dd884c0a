# Environments and sets of packages by what the server must know of them, as text alone, which depends on nothing.
{
  environments ? { },
  packages ? { },
}:
let
  inherit (builtins) mapAttrs unsafeDiscardStringContext;
  # Which derivation makes an environment, and where its output goes.
  pinned = environment: {
    drv = unsafeDiscardStringContext environment.drvPath;
    out = unsafeDiscardStringContext environment.outPath;
  };
in
{
  environments = mapAttrs (_: pinned) environments;
  packageSets = mapAttrs (_: set: {
    inherit (set) description searchPaths leftOut;
    packages = mapAttrs (_: package: {
      inherit (package) version description provides;
      environment = pinned package.environment;
    }) set.packages;
  }) packages;
}

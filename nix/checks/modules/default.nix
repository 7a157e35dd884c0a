# The problems of both modules, each a line.
{
  lib,
  nixos,
  package,
  pkgs,
}@arguments:
let
  packages.${pkgs.stdenv.hostPlatform.system}.sandbox-mcp = package;

  # Compares an attribute set of values with what is expected, under the same names.
  compare =
    subject: actual: expected:
    lib.concatMap (
      name:
      lib.optional (
        actual.${name} != expected.${name}
      ) "${subject}: ${name} must be ${show expected.${name}} but is ${show actual.${name}}"
    ) (lib.attrNames expected);
  show = lib.generators.toPretty { multiline = false; };

  undocumented =
    subject: options:
    lib.concatMap (
      option:
      let
        # What a reader of the manual sees is the default's text, where there is one.
        has = attribute: option ? ${attribute};
      in
      map (attribute: "${subject}: ${option.name} has no ${attribute}") (
        lib.remove null (
          map (attribute: if has attribute then null else attribute) [
            "default"
            "description"
            "example"
          ]
        )
      )
    ) (lib.filter (option: option.visible && !option.internal) (lib.optionAttrSetToDocList options));

  context = arguments // {
    inherit compare packages undocumented;
  };
in
import ./nixos.nix context ++ import ./home.nix context

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
      map (attribute: "${subject}: ${option.name} has no ${attribute}") (
        lib.filter (attribute: !(option ? ${attribute})) [
          "default"
          "description"
          "example"
        ]
      )
    ) (lib.filter (option: option.visible && !option.internal) (lib.optionAttrSetToDocList options));

  context = arguments // {
    inherit compare packages undocumented;
  };
in
import ./nixos.nix context ++ import ./home.nix context

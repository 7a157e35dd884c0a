# The arguments of mkServer, checked. All that is wrong with their types is reported at once, with the argument's name.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    isAttrs
    isFunction
    isString
    ;
  inherit (import ./schema.nix) record scalar;

  subject = "mkServer";
  optional = expected: is: {
    type = scalar expected (value: value == null || is value);
    default = null;
  };
  definitions = noun: {
    type =
      scalar
        "a set of ${noun}, or a function that makes one from this flake's own (without it, these are taken)"
        (value: isAttrs value || isFunction value);
    default = { };
  };
  arguments = record {
    pkgs = optional "a package set: nixpkgs, imported" (value: isAttrs value && value ? callPackage);
    nixpkgs = optional "a flake of nixpkgs, which has legacyPackages" (
      value: isAttrs value && isAttrs value.legacyPackages or null
    );
    system = optional "the name of a system, such as \"x86_64-linux\"" isString;
    sandboxes = definitions "definitions";
    packageSets = definitions "package sets";
  };

  # What is wrong with arguments of the right types together.
  together =
    {
      pkgs ? null,
      nixpkgs ? null,
      system ? null,
      ...
    }:
    if (pkgs == null) == (nixpkgs == null) then
      [ "${subject}: takes either pkgs, or nixpkgs and system" ]
    else if pkgs != null then
      [ ]
    else if system == null then
      [ "${subject}.system: missing; with nixpkgs, it is ${arguments.keys.system.type.expected}" ]
    else if nixpkgs.legacyPackages ? ${system} then
      [ ]
    else
      [
        "${subject}.system: nixpkgs has none called \"${system}\"; it has ${concatStringsSep ", " (attrNames nixpkgs.legacyPackages)}"
      ];
in
rec {
  problems =
    given:
    let
      ofTypes = arguments.problems subject given;
    in
    if ofTypes == [ ] then together given else ofTypes;

  # What is wrong with the value of a function that was given for `sandboxes` or `packageSets`.
  resultProblems =
    name: value: (scalar "a set" isAttrs).problems "what the function ${subject}.${name} returns" value;

  # The value, unless there are problems.
  unless = problems: value: if problems == [ ] then value else throw (concatStringsSep "\n" problems);
}

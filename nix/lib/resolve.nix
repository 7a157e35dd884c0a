# What a definition or a package set is given as: a file, a function of the package set, or the set of keys itself. A file holds one
# of the other two.
pkgs:
let
  inherit (builtins)
    isFunction
    isPath
    isString
    substring
    ;
  # A path in a flake may come as a string.
  isFile = given: isPath given || isString given && substring 0 1 given == "/";
in
rec {
  inherit isFile;

  keys =
    given:
    if isFile given then
      keys (import given)
    else if isFunction given then
      given pkgs
    else
      given;

  # What messages call it: the file with its directory, or else the attribute that holds it.
  nameOf =
    attribute: given:
    if isFile given then "${baseNameOf (dirOf given)}/${baseNameOf given}" else attribute;
}

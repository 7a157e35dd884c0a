# The packages of a set by their names, which stand in one string: a paragraph of names instead of a line for each.
#
#     import ./lib/named.nix "curl jq unixtools.xxd" pkgs
names: set:
let
  attribute =
    name:
    builtins.foldl' (found: part: found.${part} or (throw "there is no package named ${name}")) set (
      words "[.]" name
    );

  words = separator: text: builtins.filter isWord (builtins.split separator text);
  isWord = part: builtins.isString part && part != "";
in
map attribute (words "[[:space:]]+" names)

# The definition of a sandbox, checked and completed with defaults.
#
# The value has every key, each of its type. All that is wrong with a definition is reported at once, with the name of its file and
# the path of the key.
{ id, definition }:
pkgs:
let
  inherit (import ./resolve.nix pkgs) isFile keys nameOf;
  schema = import ./definition-keys.nix pkgs;

  given = keys definition;
  subject = nameOf "sandboxes.${id}" definition;
  problems = map (problem: "${subject}: ${problem}") (
    if builtins.match "[a-z][a-z0-9-]*" id == null then
      [
        "the ${
          if isFile definition then "file name" else "attribute"
        } must be lower-case letters, digits and dashes: it is the tool's name"
      ]
    else
      schema.problems "" given
  );
in
{
  inherit problems;
  value =
    if problems == [ ] then
      { inherit id; } // schema.complete given
    else
      throw (builtins.concatStringsSep "\n" problems);
}

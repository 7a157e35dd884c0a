# The reference is whole: each key of a definition and of a package set has a description and an example, and its type takes that
# example and its default. The definition at the top of the reference is one that is taken.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  inherit (import ../lib/schema.nix)
    faults
    listOf
    record
    text
    ;
  documented = {
    type = text;
    description = "A key with all that it needs.";
    example = "value";
  };

  # What is found of keys that lack something, at any depth.
  found = faults (record {
    right = documented;
    undescribed = removeAttrs documented [ "description" ];
    empty = documented // {
      description = "";
    };
    nested = documented // {
      type = listOf (record {
        without = removeAttrs documented [ "example" ];
      });
      example = [ { without = "value"; } ];
    };
    refused = documented // {
      example = 1;
      default = "";
    };
  });
  expected = [
    "empty: has no description"
    "nested[].without: has no example"
    "the example of refused: must be a string that is not blank, but is 1"
    "the default of refused: must be a string that is not blank, but is \"\""
    "undescribed: has no description"
  ];

  example = import ../lib/definition.nix {
    id = "lua";
    definition = ../docs/example.nix;
  } pkgs;
  problems =
    map (fault: "definition-keys.nix: ${fault}") (faults (import ../lib/definition-keys.nix pkgs))
    ++ map (fault: "package-set-keys.nix: ${fault}") (faults (import ../lib/package-set-keys.nix pkgs))
    ++ example.problems
    ++ lib.optional (found != expected) "faults finds ${builtins.toJSON found}";
in
pkgs.runCommand "docs"
  {
    problems = lib.concatLines problems;
    docs = "${server.docs}/share/doc/sandbox-mcp";
    tools = lib.attrNames server.definitions;
  }
  ''
    echo -n "$problems"
    [ -z "$problems" ]
    set -x
    grep -qx '### `before\[\].ready.port`' $docs/definition.md
    grep -qx '### `searchPaths`' $docs/package-set.md
    for tool in $tools; do grep -q "^## \`$tool\`: " $docs/tools.md; done
    # The chapters in pages/ may show store paths; what is made here must not.
    generated="$docs/definition.md $docs/package-set.md $docs/tools.md"
    if grep -n '<lambda>\|/nix/store' $generated; then exit 1; fi
    touch $out
  ''

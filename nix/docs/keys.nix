# The keys of a schema's type (nix/lib/schema.nix) in Markdown, a section for each.
lib: type:
let
  inherit (import ../lib/schema.nix) defaultOf exampleOf isOptional;
  print = import ./value.nix lib;
  code = import ./code.nix lib;

  section =
    { path, key }:
    let
      isRecord = key.type ? keys;
      default =
        if isRecord then
          ""
        else if isOptional key then
          "Default:${if key ? defaultText then " ${key.defaultText}\n" else code (print (defaultOf key))}"
        else
          "Required.\n";
    in
    ''
      ### `${path}`

      ${lib.trim key.description}

    ''
    + lib.optionalString (!isRecord) ''
      Type: ${key.type.expected}

      ${default}
      Example:${code (key.exampleText or (print (exampleOf key)))}
    '';
in
lib.concatMapStrings section (type.document "")

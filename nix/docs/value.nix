# A value as text in the Nix language: on one line where that is short.
lib:
let
  inherit (builtins)
    isAttrs
    isList
    isString
    match
    stringLength
    toJSON
    ;
  # Columns that a list or a set may take on one line.
  width = 60;

  attribute = name: if match "[A-Za-z_][A-Za-z0-9_-]*" name == null then toJSON name else name;

  # The parts of a list or a set, each ending as its line does.
  parts =
    indent: value:
    if isList value then
      map (print indent) value
    else
      lib.mapAttrsToList (name: part: "${attribute name} = ${print indent part};") value;

  print =
    indent: value:
    if isString value then
      lib.replaceStrings [ "\${" ] [ "\\\${" ] (toJSON value)
    else if isList value || isAttrs value then
      let
        open = if isList value then "[" else "{";
        close = if isList value then "]" else "}";
        flat = lib.concatStringsSep " " ([ open ] ++ parts "" value ++ [ close ]);
        deeper = "${indent}  ";
      in
      if stringLength flat <= width && !lib.hasInfix "\n" flat then
        flat
      else
        "${open}\n${
          lib.concatMapStrings (part: "${deeper}${part}\n") (parts deeper value)
        }${indent}${close}"
    else
      toJSON value;
in
print ""

lib:
with lib;
let
  upper = stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  lower = stringToCharacters "abcdefghijklmnopqrstuvwxyz";
in
rec {
  optionalString = condition: string: if condition then string else "";
  concatStrings = concatStringsSep "";
  concatLines = concatMapStrings (line: line + "\n");
  concatMapStrings = f: list: concatStrings (map f list);
  concatMapStringsSep =
    separator: f: list:
    concatStringsSep separator (map f list);
  concatMapAttrsStringSep =
    separator: f: set:
    concatStringsSep separator (mapAttrsToList f set);
  intersperse =
    separator: list:
    drop 1 (
      concatMap (value: [
        separator
        value
      ]) list
    );

  hasPrefix = prefix: string: substring 0 (stringLength prefix) string == prefix;
  hasSuffix =
    suffix: string:
    stringLength suffix <= stringLength string
    && substring (stringLength string - stringLength suffix) (stringLength suffix) string == suffix;
  hasInfix = infix: string: length (split (escapeRegex infix) string) > 1;
  removePrefix =
    prefix: string:
    if hasPrefix prefix string then
      substring (stringLength prefix) (stringLength string) string
    else
      string;
  removeSuffix =
    suffix: string:
    if hasSuffix suffix string then
      substring 0 (stringLength string - stringLength suffix) string
    else
      string;
  splitString = separator: string: filter isString (split (escapeRegex separator) string);
  stringToCharacters = string: genList (i: substring i 1 string) (stringLength string);
  trim =
    string:
    let
      inner = match "[ \t\r\n]*(.*[^ \t\r\n])[ \t\r\n]*" string;
    in
    if inner == null then "" else head inner;
  fileContents = file: removeSuffix "\n" (readFile file);

  toUpper = replaceStrings lower upper;
  toLower = replaceStrings upper lower;

  escape = characters: replaceStrings characters (map (character: "\\" + character) characters);
  escapeRegex = escape (stringToCharacters "\\[{()^$?*+|.");
  escapeShellArg =
    value:
    let
      string = toString value;
    in
    if match "[[:alnum:],._+:@%/-]+" string != null then
      string
    else
      "'${replaceStrings [ "'" ] [ "'\\''" ] string}'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  toShellVar = name: value: "${name}=${escapeShellArg value}";
  boolToString = value: if value then "true" else "false";
  versionAtLeast = a: b: compareVersions a b >= 0;
  versionOlder = a: b: compareVersions a b < 0;
  generators.toJSON = _: toJSON;
}

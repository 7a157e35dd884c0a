# What a value must look like, as data: a type finds the problems of a value, completes it with defaults, and tells of its keys.
#
# The module system of nixpkgs does the same and more. It is not used because it belongs to nixpkgs' own `lib`, which is out of
# reach where the checks run with the stand-in of checks/offline-nixpkgs.
#
# A type has
#
#   expected   what it asks for, in words
#   problems   path: value: a list of messages, each of which starts with the key's path
#   complete   value: the value with every key present
#   document   path: the keys that a value at this path has, at any depth, as a list of { path, key }
#
# A key of a record has
#
#   type
#   description   for the reference: sentences in Markdown
#   example       a value of the type; a record has the examples of its keys
#   default       the value where the key is missing; without it, the key is required
#   exampleText   the example as Nix code, where the value itself can't be printed
#   defaultText   likewise the default, in Markdown
let
  inherit (builtins)
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    elemAt
    filter
    genList
    isAttrs
    isBool
    isInt
    isList
    isString
    length
    mapAttrs
    match
    toJSON
    typeOf
    ;

  wrong =
    path: expected: value:
    "${if path == "" then "it" else "${path}:"} must be ${expected}, but is ${shown value}";
  shown =
    value:
    if isString value || isInt value || isBool value then toJSON value else nouns.${typeOf value};
  nouns = {
    float = "a fraction";
    lambda = "a function";
    list = "a list";
    null = "null";
    path = "a path";
    set = "a set";
  };

  # The parts of a string between white space.
  words = value: filter (part: isString part && part != "") (builtins.split "[[:space:]]+" value);

  below = path: name: if path == "" then name else "${path}.${name}";

  # A record that may be left out stands for an empty one.
  isOptional = key: key ? default || key.type ? default;
  defaultOf = key: key.default or key.type.default;
  hasExample = key: key ? example || key.type ? example;
  exampleOf = key: key.example or key.type.example;
in
rec {
  inherit
    defaultOf
    exampleOf
    hasExample
    isOptional
    ;

  # A value for which `is` holds.
  scalar = expected: is: {
    inherit expected;
    problems = path: value: if is value then [ ] else [ (wrong path expected value) ];
    complete = value: value;
    document = _: [ ];
  };

  # White space is as good as nothing.
  text = scalar "a string that is not blank" (value: isString value && words value != [ ]);
  string = scalar "a string" isString;
  # A text that may be wrapped and indented: its words are joined by single spaces.
  prose = type: type // { complete = value: concatStringsSep " " (words value); };
  oneOf = values: scalar (concatStringsSep " or " (map toJSON values)) (value: elem value values);
  matching =
    expected: pattern: scalar expected (value: isString value && match pattern value != null);

  # A set that has these keys and no other.
  record = keys: {
    inherit keys;
    expected = "a set of ${concatStringsSep ", " (attrNames keys)}";
    default = { };
    example = mapAttrs (_: exampleOf) keys;
    problems =
      path: value:
      let
        unknown = filter (name: !keys ? ${name}) (attrNames value);
        known = if path == "" then "a definition" else path;
        problemsOf =
          name:
          let
            key = keys.${name};
          in
          if value ? ${name} || isOptional key then
            key.type.problems (below path name) (value.${name} or (defaultOf key))
          else
            [ "${below path name}: missing; it must be ${key.type.expected}" ];
      in
      if isAttrs value then
        map (
          name: "${below path name}: unknown key; ${known} has ${concatStringsSep ", " (attrNames keys)}"
        ) unknown
        ++ concatMap problemsOf (attrNames keys)
      else
        [ (wrong path "a set" value) ];
    complete = value: mapAttrs (name: key: key.type.complete (value.${name} or (defaultOf key))) keys;
    document =
      path:
      concatMap (
        name:
        [
          {
            path = below path name;
            key = keys.${name};
          }
        ]
        ++ keys.${name}.type.document (below path name)
      ) (attrNames keys);
  };

  listOf = item: {
    expected = "a list, each item ${item.expected}";
    problems =
      path: value:
      if isList value then
        concatLists (genList (i: item.problems "${path}[${toString i}]" (elemAt value i)) (length value))
      else
        [ (wrong path "a list" value) ];
    complete = map item.complete;
    document = path: item.document "${path}[]";
  };

  # A list of items, or what another type asks for.
  listOr =
    item: other:
    let
      list = listOf item;
      expected = "${other.expected} or ${list.expected}";
    in
    {
      inherit expected;
      problems =
        path: value:
        if isList value then
          list.problems path value
        else if other.problems path value == [ ] then
          [ ]
        else
          [ (wrong path expected value) ];
      complete = value: if isList value then list.complete value else other.complete value;
      inherit (list) document;
    };

  # A string, or what another type asks for.
  stringOr =
    string: other:
    let
      chosen = value: if isString value then string else other;
    in
    {
      expected = "${string.expected}, or ${other.expected}";
      problems = path: value: (chosen value).problems path value;
      complete = value: (chosen value).complete value;
      inherit (other) document;
    };

  # A set whose keys are names that match the pattern, and nothing else is known of them.
  setOf = name: pattern: item: {
    expected = "a set, each value ${item.expected}";
    problems =
      path: value:
      if isAttrs value then
        concatMap (
          key:
          if match pattern key == null then
            [ "${below path key}: the key must be ${name}" ]
          else
            item.problems (below path key) value.${key}
        ) (attrNames value)
      else
        [ (wrong path "a set" value) ];
    complete = mapAttrs (_: item.complete);
    document = path: item.document (below path "<name>");
  };

  notEmpty =
    type:
    type
    // {
      problems =
        path: value: if value == [ ] then [ "${path}: must not be empty" ] else type.problems path value;
    };

  # What is wrong with the keys of a type themselves: those without a description or an example, and examples and defaults that
  # the key's own type refuses.
  faults =
    type:
    concatMap (
      { path, key }:
      (if key.description or "" == "" then [ "${path}: has no description" ] else [ ])
      ++ (
        if hasExample key then
          map (problem: "the example of ${problem}") (key.type.problems path (exampleOf key))
        else
          [ "${path}: has no example" ]
      )
      ++ (
        if key ? default then
          map (problem: "the default of ${problem}") (key.type.problems path key.default)
        else
          [ ]
      )
    ) (type.document "");
}

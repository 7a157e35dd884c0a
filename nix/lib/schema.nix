# What a value must look like, as data: each schema finds the problems of a value and completes it with defaults.
#
#   a         what it asks for, in words
#   problems  path: value: a list of messages, each of which starts with the key's path
#   complete  value: the value with every key present
#   default   the value of a missing key; without it, the key is required
let
  inherit (builtins)
    attrNames
    concatLists
    concatMap
    concatStringsSep
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
    path: a: value:
    "${path}: must be ${a}, but is ${shown value}";
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

  below = path: key: if path == "" then key else "${path}.${key}";
in
rec {
  # A value for which `is` holds.
  scalar = a: is: {
    inherit a;
    problems = path: value: if is value then [ ] else [ (wrong path a value) ];
    complete = value: value;
  };

  oneOf =
    values: scalar (concatStringsSep " or " (map toJSON values)) (value: builtins.elem value values);
  matching = a: pattern: scalar a (value: isString value && match pattern value != null);

  # A set that has these keys and no other. It may be left out when all of them may.
  record = keys: {
    a = "a set of ${concatStringsSep ", " (attrNames keys)}";
    default = { };
    problems =
      path: value:
      let
        unknown = filter (key: !keys ? ${key}) (attrNames value);
        known = if path == "" then "a definition" else path;
        problemsOf =
          key:
          if value ? ${key} || keys.${key} ? default then
            keys.${key}.problems (below path key) (value.${key} or keys.${key}.default)
          else
            [ "${below path key}: missing; it must be ${keys.${key}.a}" ];
      in
      if isAttrs value then
        map (
          key: "${below path key}: unknown key; ${known} has ${concatStringsSep ", " (attrNames keys)}"
        ) unknown
        ++ concatMap problemsOf (attrNames keys)
      else
        [ (wrong path "a set" value) ];
    complete = value: mapAttrs (key: schema: schema.complete (value.${key} or schema.default)) keys;
  };

  listOf = item: {
    a = "a list, each item ${item.a}";
    problems =
      path: value:
      if isList value then
        concatLists (genList (i: item.problems "${path}[${toString i}]" (elemAt value i)) (length value))
      else
        [ (wrong path "a list" value) ];
    complete = map item.complete;
  };

  # A list of items, or what another schema asks for.
  listOr =
    item: other:
    let
      list = listOf item;
      a = "${other.a} or ${list.a}";
    in
    {
      inherit a;
      problems =
        path: value:
        if isList value then
          list.problems path value
        else if other.problems path value == [ ] then
          [ ]
        else
          [ (wrong path a value) ];
      complete = value: if isList value then list.complete value else other.complete value;
    };

  # A string, or what another schema asks for.
  stringOr =
    string: other:
    let
      chosen = value: if isString value then string else other;
    in
    {
      a = "${string.a}, or ${other.a}";
      problems = path: value: (chosen value).problems path value;
      complete = value: (chosen value).complete value;
    };

  # A set whose keys are names that match the pattern, and nothing else is known of them.
  setOf = a: pattern: item: {
    a = "a set, each value ${item.a}";
    problems =
      path: value:
      if isAttrs value then
        concatMap (
          name:
          if match pattern name == null then
            [ "${below path name}: the key must be ${a}" ]
          else
            item.problems (below path name) value.${name}
        ) (attrNames value)
      else
        [ (wrong path "a set" value) ];
    complete = mapAttrs (_: item.complete);
  };

  notEmpty =
    schema:
    schema
    // {
      problems =
        path: value: if value == [ ] then [ "${path}: must not be empty" ] else schema.problems path value;
    };

  # Makes a key optional.
  default = value: schema: schema // { default = value; };
}

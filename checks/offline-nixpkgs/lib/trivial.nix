lib: with lib; {
  id = value: value;
  const = value: _: value;
  flip =
    f: a: b:
    f b a;
  pipe = foldl' (value: f: f value);
  fix =
    f:
    let
      result = f result;
    in
    result;
  max = a: b: if a > b then a else b;
  min = a: b: if a < b then a else b;
  mod = a: b: a - b * (a / b);
  isFunction = value: builtins.isFunction value || (isAttrs value && value ? __functor);
  importJSON = file: fromJSON (readFile file);
  importTOML = file: fromTOML (readFile file);
  assertMsg = condition: message: condition || throw message;
  assertOneOf =
    name: value: allowed:
    elem value allowed || throw "${name} must be one of ${toJSON allowed}, but is ${toJSON value}";
  throwIf =
    condition: message: value:
    if condition then throw message else value;
  throwIfNot =
    condition: message: value:
    if condition then value else throw message;
  warn = message: trace "warning: ${message}";
  composeManyExtensions =
    overlays: final: prev:
    foldl' (set: overlay: set // overlay final (prev // set)) { } overlays;
}

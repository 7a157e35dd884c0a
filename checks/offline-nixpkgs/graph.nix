# Which packages of lock.json make which store path ("unit"), and which units a unit needs. Each attribute of packages.toml
# is a unit, and each package that those depend on.
{
  lib,
  attributes,
  packages,
}:
let
  inherit (lib)
    attrNames
    concatMap
    elem
    filter
    groupBy
    head
    mapAttrs
    naturalSort
    unique
    ;

  unitOf =
    mapAttrs (name: _: name) packages
    // lib.concatMapAttrs (unit: names: lib.genAttrs names (_: unit)) attributes;
  members = groupBy (name: unitOf.${name}) (attrNames packages);

  direct = mapAttrs (
    unit: names:
    filter (other: other != unit) (
      unique (concatMap (name: map (other: unitOf.${other}) packages.${name}.depends) names)
    )
  ) members;
  closure = mapAttrs (
    _: names:
    map (node: node.key) (
      builtins.genericClosure {
        startSet = map (key: { inherit key; }) names;
        operator = node: map (key: { inherit key; }) direct.${node.key};
      }
    )
  ) direct;

  # Units that need each other, as libc6 and libgcc-s1 do, become one store path: that of the first of them.
  cycle = mapAttrs (
    unit: below: naturalSort (unique ([ unit ] ++ filter (other: elem unit closure.${other}) below))
  ) closure;
in
mapAttrs (unit: together: {
  same = head together;
  packages = concatMap (other: members.${other}) together;
  needs = naturalSort (
    filter (other: !elem other together) (unique (concatMap (other: closure.${other}) together))
  );
}) cycle

# The packages of lock.json as store paths ("units"): one for each attribute of packages.toml, one for each package that
# those depend on.
{ system }:
let
  inherit (builtins)
    attrNames
    attrValues
    concatLists
    concatMap
    elem
    filter
    fromJSON
    fromTOML
    genericClosure
    groupBy
    head
    listToAttrs
    map
    mapAttrs
    match
    pathExists
    readFile
    replaceStrings
    sort
    ;

  spec = fromTOML (readFile ./packages.toml);
  lock =
    if pathExists ./lock.json then
      fromJSON (readFile ./lock.json)
    else
      throw "${toString ./.}/lock.json is missing: python3 checks/offline-nixpkgs/collect packages makes it";
  inherit (lock) packages;

  unique = names: attrNames (groupBy (name: name) names);

  # pypi:NAME==RANGE, as packages.toml has it, is pypi:NAME in lock.json.
  lockedName =
    name:
    let
      wheel = match "(pypi:[A-Za-z0-9-]+).*" name;
    in
    if wheel == null then name else head wheel;
  attributes = mapAttrs (_: map lockedName) (spec.attributes // spec.python-modules);

  # Which unit a package is part of, which packages a unit is made of, which units it needs directly and in the end.
  unitOf =
    mapAttrs (name: _: name) packages
    // listToAttrs (
      concatLists (
        attrValues (
          mapAttrs (
            unit:
            map (name: {
              inherit name;
              value = unit;
            })
          ) attributes
        )
      )
    );
  members = groupBy (name: unitOf.${name}) (attrNames packages);
  needs = mapAttrs (
    unit: names:
    filter (other: other != unit) (
      unique (map (name: unitOf.${name}) (concatMap (name: packages.${name}.depends) names))
    )
  ) members;
  closure = mapAttrs (
    _: direct:
    map (node: node.key) (genericClosure {
      startSet = map (key: { inherit key; }) direct;
      operator = node: map (key: { inherit key; }) needs.${node.key};
    })
  ) needs;

  # Units that need each other, as libc6 and libgcc-s1 do, become one store path: that of the first of them.
  cycle = mapAttrs (
    unit: below:
    sort (a: b: a < b) (unique ([ unit ] ++ filter (other: elem unit closure.${other}) below))
  ) closure;

  # collect/ has put these files into the store, where they are valid already: the builder never runs.
  collected =
    args:
    derivation (
      {
        inherit system;
        builder = "/checks/offline-nixpkgs/collect";
        outputHashAlgo = "sha256";
      }
      // args
    );
  file =
    name:
    collected {
      name =
        if match "pypi:.*" name == null then
          "${name}.deb"
        else
          "${replaceStrings [ "pypi:" ] [ "" ] name}.whl";
      outputHash = packages.${name}.sha256;
    };
  busybox = collected {
    name = "busybox";
    outputHashMode = "recursive";
    outputHash = lock.busybox;
  };

  # What units are made with: busybox, and patchelf beside the libraries that it needs.
  tools = derivation {
    name = "unit-tools";
    inherit system busybox;
    builder = "${busybox}/bin/busybox";
    args = [
      "sh"
      "-euc"
      ''
        $busybox/bin/busybox mkdir -p $out/bin
        $busybox/bin/busybox --install -s $out/bin
        PATH=$out/bin
        for deb in $debs; do dpkg-deb -x $deb $out; done
        lib=$out/usr/lib/x86_64-linux-gnu
        patchelf="$lib/ld-linux-x86-64.so.2 --library-path $lib $out/usr/bin/patchelf"
        cp $out/usr/bin/patchelf $out/bin/patchelf
        $patchelf --set-interpreter $lib/ld-linux-x86-64.so.2 --force-rpath --set-rpath $lib $out/bin/patchelf
      ''
    ];
    debs = map file spec.seed.patchelf;
  };

  finish = import ./finish.nix units;

  unit =
    name: together:
    let
      names = concatMap (other: members.${other}) together;
      below = filter (other: !elem other together) (
        unique (concatMap (other: closure.${other}) together)
      );
      version =
        replaceStrings [ ":" "~" ] [ "-" "-" ]
          packages.${head (attributes.${name} or names)}.version;
    in
    derivation {
      name = "${replaceStrings [ ":" ] [ "-" ] name}-${version}";
      inherit system tools;
      builder = "${tools}/bin/sh";
      args = [ ./unit.sh ];
      files = map file names;
      deps = map (other: units.${other}) below;
      # What bash itself is made of can't have its scripts bound to bash.
      shell = if elem name (closure.bash ++ [ "bash" ]) then "" else units.bash;
      finish = finish.${name} or (if match "python3-.*" name != null then finish.python-module else "");
    }
    // {
      pname = name;
      inherit version;
      below = map (other: units.${other}) below;
      meta.mainProgram = spec.main-programs.${name} or name;
    };

  units = mapAttrs (
    name: together: if name == head together then unit name together else units.${head together}
  ) cycle;
in
{
  programs = mapAttrs (name: _: units.${name}) spec.attributes;
  pythonModules = mapAttrs (name: _: units.${name}) spec.python-modules;
  inherit (units) libc6;
}

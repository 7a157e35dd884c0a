# The packages of lock.json as store paths, which unit.sh makes.
{ lib, system }:
let
  inherit (lib)
    elem
    hasPrefix
    head
    mapAttrs
    removePrefix
    replaceStrings
    ;

  spec = lib.importTOML ./packages.toml;
  lock =
    if lib.pathExists ./lock.json then
      lib.importJSON ./lock.json
    else
      throw "${toString ./lock.json} is missing: python3 checks/offline-nixpkgs/collect packages makes it";
  inherit (lock) packages;

  # pypi:NAME==RANGE, as packages.toml has it, is pypi:NAME in lock.json.
  attributes = mapAttrs (_: map (name: head (lib.match "((pypi:)?[^=<>~]+).*" name))) (
    spec.attributes // spec.python-modules
  );
  graph = import ./graph.nix { inherit lib attributes packages; };

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
    package:
    collected {
      name =
        if hasPrefix "pypi:" package then "${removePrefix "pypi:" package}.whl" else "${package}.deb";
      outputHash = packages.${package}.sha256;
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
    name: node:
    let
      below = map (other: units.${other}) node.needs;
      inherit (packages.${head (attributes.${name} or node.packages)}) version description;
      built = derivation {
        name = "${replaceStrings [ ":" ] [ "-" ] name}-${replaceStrings [ ":" "~" ] [ "-" "-" ] version}";
        inherit system tools;
        builder = "${tools}/bin/sh";
        args = [ ./unit.sh ];
        files = map file node.packages;
        deps = below;
        # What bash itself is made of can't have its scripts bound to bash.
        shell = if elem name ([ "bash" ] ++ graph.bash.needs) then "" else units.bash;
        finish =
          finish.${name} or (
            if hasPrefix "python3-" name || spec.python-modules ? ${name} then finish.python-module else ""
          );
      };
    in
    built
    // {
      pname = name;
      inherit version below;
      meta = {
        inherit description;
        mainProgram = spec.main-programs.${name} or name;
        priority = spec.priorities.${name} or 5;
      };
    };

  units = mapAttrs (
    name: node: if node.same == name then unit name node else units.${node.same}
  ) graph;
in
{
  programs = mapAttrs (name: _: units.${name}) spec.attributes;
  pythonModules = mapAttrs (name: _: units.${name}) spec.python-modules;
  inherit units;
}

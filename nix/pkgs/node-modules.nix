# Modules that programs on Node.js may load, each as its repository has it: none has to be built, and none needs another.
# nixpkgs has no modules of Node.js.
pkgs:
let
  inherit (pkgs) lib;
  sources = lib.mapAttrs (_: pkgs.fetchFromGitHub) (lib.importJSON ./node-modules.json);
in
pkgs.runCommand "node-modules" { } (
  ''
    mkdir -p $out/lib/node_modules
    cd $out/lib/node_modules
  ''
  + lib.concatStrings (
    lib.mapAttrsToList (name: source: ''
      cp -r --no-preserve=mode ${source} ${name}
      rm -rf ${name}/{docs,examples,media,tap-snapshots,test,tests}
    '') sources
  )
)

# Modules that programs on Node.js may load, each as its repository has it: none has to be built, and none needs another.
# nixpkgs has no modules of Node.js.
{
  fetchFromGitHub,
  lib,
  runCommand,
}:
let
  sources = lib.mapAttrs (_: fetchFromGitHub) (lib.importJSON ./node-modules.json);
in
runCommand "node-modules" { } (
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

# The JVM of the environment takes its AOT cache, which it would pass over in silence if it did not fit.
{ pkgs, server }:
let
  inherit (server.environments) java;
in
pkgs.runCommand "java-aot-cache" { } ''
  export HOME=$TMPDIR
  cp -r ${../pkgs/jdk} programs
  cd programs
  ${java}/bin/java -XX:AOTMode=on ${pkgs.lib.concatStringsSep " " (pkgs.lib.tail server.definitions.java.command)}
  touch $out
''

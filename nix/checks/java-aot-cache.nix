# The JVM of the environment takes its AOT cache, which it would pass over in silence if that did not fit.
{ pkgs, server }:
let
  inherit (server.environments) java;
  arguments = pkgs.lib.concatStringsSep " " (pkgs.lib.tail server.definitions.java.command);
in
pkgs.runCommand "java-aot-cache" { } ''
  export HOME=$TMPDIR
  cp -r ${../pkgs/jdk} programs
  cd programs
  for SANDBOX_MCP_AHEAD in "" 1; do
    export SANDBOX_MCP_AHEAD
    JAVA_TOOL_OPTIONS=-XX:AOTMode=on ${java}/bin/java ${arguments} < /dev/null > ../printed
    cat ../printed
    # It would be as silent if nothing ran at all.
    grep --quiet "large circle" ../printed
  done
  touch $out
''

# A JDK whose `java` fits the limits of ../java.nix, and starts short programs soon.
#
# The JVM sizes its heap, its garbage collector and its compiler threads after the whole machine: on a large one it would
# hit the sandbox's limits before the program starts. The flags stand in a script because the JVM announces options from
# the environment on stderr.
#
# To run a source file is to run the Java compiler first. The classes of both, loaded and linked, are taken from an AOT
# cache. It is made by running the programs of jdk/ with the same flags, and holds for this very JDK alone: the check
# `java-aot-cache` finds out whether it is taken.
pkgs:
let
  jdk = pkgs.jdk25_headless;
  flags = "-XX:ActiveProcessorCount=1 -XX:+UseSerialGC -XX:-UsePerfData -Xms32m -Xmx512m";
in
pkgs.runCommand "jdk-for-one-core" { meta.mainProgram = "java"; } ''
  mkdir -p $out/bin $out/share/sandbox-mcp
  cache=$out/share/sandbox-mcp/java.aot
  cp -r ${./jdk} programs
  cd programs
  ${jdk}/bin/java ${flags} -XX:AOTCacheOutput=$cache --enable-preview main.java

  ln -s ${jdk}/bin/* $out/bin/
  rm $out/bin/java
  cat > $out/bin/java <<END
  #!${pkgs.bash}/bin/bash
  exec ${jdk}/bin/java ${flags} -XX:AOTCache=$cache "\$@"
  END
  chmod +x $out/bin/java
''

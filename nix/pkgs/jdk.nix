# A JDK whose `java` fits the limits of ../java.nix, and starts short programs soon.
#
# The JVM sizes its heap, its garbage collector and its compiler threads after the whole machine: on a large one it would
# hit the sandbox's limits before the program starts. The flags stand in a script because the JVM announces options from
# the environment on stderr.
#
# To run a source file is to run the Java compiler first. The classes of both, loaded and linked, are taken from an AOT
# cache. It is made by running the programs of jdk/ with the same flags, and holds for this very JDK alone: the check
# `java-aot-cache` finds out whether it is taken.
#
# Where SANDBOX_MCP_AHEAD is set, a class of ours starts first, with a cache of its own, and waits for the call.
pkgs:
let
  jdk = pkgs.jdk25_headless;
  flags = "-XX:ActiveProcessorCount=1 -XX:+UseSerialGC -XX:-UsePerfData -Xms32m -Xmx512m";
  launcher = "jdk.compiler/com.sun.tools.javac.launcher";
in
pkgs.runCommand "jdk-for-one-core" { meta.mainProgram = "java"; } ''
  share=$out/share/sandbox-mcp
  mkdir -p $out/bin $share
  cp -r ${./jdk} programs

  ${jdk}/bin/javac --add-exports ${launcher}=ALL-UNNAMED -d classes ${./ahead/SandboxAhead.java}
  printf 'Main-Class: SandboxAhead\nAdd-Exports: ${launcher}\n' > manifest
  ${jdk}/bin/jar --create --date=1980-01-01T00:00:02Z --file $share/ahead.jar --manifest manifest -C classes .
  # The cache holds for the jar of this time, and this is the time that all files of the store have.
  touch --date=@1 $share/ahead.jar

  cd programs
  ${jdk}/bin/java ${flags} -XX:AOTCacheOutput=$share/java.aot --enable-preview main.java
  # The source launcher would ask for these modules itself.
  ahead="--add-modules=ALL-DEFAULT -jar $share/ahead.jar"
  ${jdk}/bin/java ${flags} -XX:AOTCacheOutput=$share/ahead.aot --enable-preview $ahead main.java < /dev/null

  ln -s ${jdk}/bin/* $out/bin/
  rm $out/bin/java
  cat > $out/bin/java <<END
  #!${pkgs.bash}/bin/bash
  if [ -n "\$SANDBOX_MCP_AHEAD" ]; then
    unset SANDBOX_MCP_AHEAD
    exec ${jdk}/bin/java ${flags} -XX:AOTCache=$share/ahead.aot "\''${@:1:\$#-1}" $ahead "\''${@:\$#}"
  fi
  exec ${jdk}/bin/java ${flags} -XX:AOTCache=$share/java.aot "\$@"
  END
  chmod +x $out/bin/java
''

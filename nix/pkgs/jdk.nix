# A JDK whose `java` fits the limits of ../java.nix, and starts short programs soon.
#
# The JVM sizes its heap, its garbage collector and its compiler threads after the whole machine: on a large one it would
# hit the sandbox's limits before the program starts. The flags stand in a script because the JVM announces options from
# the environment on stderr.
#
# A source file that is run with preview features, as the tool's command has it, is run by a class of ours: it takes files that
# the JDK's own launcher does not (ahead/RunSource.java), and where SANDBOX_MCP_AHEAD is set it waits for the
# call first, whose coming descriptor 3 tells. That is to run the Java compiler. Its classes, loaded and linked, are taken from an
# AOT cache, which is made by running the programs of jdk/ with the same flags, and holds for this very JDK alone: the check
# `java-aot-cache` finds out whether it is taken. Nothing else that a JVM is started for fits it.
{
  bash,
  jdk25_headless,
  runCommand,
}:
let
  jdk = jdk25_headless;
  flags = "-XX:ActiveProcessorCount=1 -XX:+UseSerialGC -XX:-UsePerfData -Xms32m -Xmx512m ${quiet}";
  # What a JVM has to say itself is none of a program's output.
  quiet = "-Xlog:disable -Xlog:all=warning:stderr";
  exports = [
    "java.base/jdk.internal.access"
    "jdk.compiler/com.sun.tools.javac.launcher"
  ];
  exported = builtins.concatStringsSep " " (
    map (package: "--add-exports ${package}=ALL-UNNAMED") exports
  );
in
runCommand "jdk-for-one-core" { meta.mainProgram = "java"; } ''
  share=$out/share/sandbox-mcp
  mkdir -p $out/bin $share
  cp -r ${./jdk} programs

  ${jdk}/bin/javac ${exported} -d classes ${./ahead/SandboxAhead.java} ${./ahead/RunSource.java}
  printf 'Main-Class: SandboxAhead\nAdd-Exports: ${toString exports}\nAdd-Opens: java.base/jdk.internal.loader\n' > manifest
  ${jdk}/bin/jar --create --date=1980-01-01T00:00:02Z --file $share/ahead.jar --manifest manifest -C classes .
  # The cache holds for the jar of this time, and this is the time that all files of the store have.
  touch --date=@1 $share/ahead.jar

  cd programs
  # The source launcher would ask for these modules itself.
  run="--enable-preview --add-modules=ALL-DEFAULT -jar $share/ahead.jar"
  ${jdk}/bin/java ${flags} -XX:AOTCacheOutput=$share/java.aot $run ahead main.java 3< /dev/null

  ln -s ${jdk}/bin/* $out/bin/
  rm $out/bin/java
  cat > $out/bin/java <<END
  #!${bash}/bin/bash
  if [ "\$1" = --enable-preview ] && [[ \$2 == *.java ]]; then
    start=now
    if [ -n "\$SANDBOX_MCP_AHEAD" ]; then
      unset SANDBOX_MCP_AHEAD
      start=ahead
      exec 3<&0 < /dev/null
    fi
    exec ${jdk}/bin/java ${flags} -XX:AOTCache=$share/java.aot $run \$start "\''${@:2}"
  fi
  exec ${jdk}/bin/java ${flags} "\$@"
  END
  chmod +x $out/bin/java
''

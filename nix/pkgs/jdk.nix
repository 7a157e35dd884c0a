# A JDK whose `java` fits the limits of ../java.nix.
#
# The JVM sizes its heap, its garbage collector and its compiler threads after the whole machine: on a large one it would
# hit the sandbox's limits before the program starts. The flags stand in a script because the JVM announces options from
# the environment on stderr.
pkgs:
let
  jdk = pkgs.jdk25_headless;
in
pkgs.runCommand "jdk-for-one-core" { meta.mainProgram = "java"; } ''
  mkdir -p $out/bin
  ln -s ${jdk}/bin/* $out/bin/
  rm $out/bin/java
  cat > $out/bin/java <<'END'
  #!${pkgs.bash}/bin/bash
  exec ${jdk}/bin/java -XX:ActiveProcessorCount=1 -XX:+UseSerialGC -Xms32m -Xmx512m "$@"
  END
  chmod +x $out/bin/java
''

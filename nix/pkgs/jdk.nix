# A JDK whose `java` fits the limits of ../java.nix, and starts short programs soon.
#
# The JVM sizes its heap, its garbage collector and its compiler threads after the whole machine: on a large one it would
# hit the sandbox's limits before the program starts. The flags stand in a script because the JVM announces options from
# the environment on stderr. The heap leaves a quarter of the memory limit to what the JVM needs beside it, and most of it to
# old objects, since an array must fit into one part.
#
# A source file that is run with preview features, as the tool's command has it, is run by a class of ours: it takes files that
# the JDK's own launcher does not (ahead/RunSource.java), and where SANDBOX_MCP_AHEAD is set it waits for the
# call first, whose coming descriptor 3 tells. That is to run the Java compiler. Its classes, loaded and linked, are taken from an
# AOT cache, which is made by running the programs of jdk/ with the same flags, and holds for this very JDK alone: the check
# `java-aot-cache` finds out whether it is taken. Nothing else that a JVM is started for fits it.
#
# Fonts for text on images are named to it: it would ask fontconfig otherwise, which has none here.
{
  bash,
  dejavu_fonts,
  jdk25_headless,
  runCommand,
}:
let
  jdk = jdk25_headless;
  flags = "${fonts} -XX:ActiveProcessorCount=1 -XX:+UseSerialGC -XX:-UsePerfData -Xms32m -Xmx768m -XX:MaxNewSize=128m ${quiet}";
  fonts = "-Dsun.awt.fontconfig=${placeholder "out"}/share/sandbox-mcp/java-fonts/fontconfig.properties";
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

  # Each logical font in each style. The names have the form of X11's.
  mkdir $share/java-fonts
  {
    echo version=1
    for font in dialog:Sans sansserif:Sans serif:Serif monospaced:SansMono dialoginput:SansMono; do
      for style in plain: bold:-Bold italic: bolditalic:-Bold; do
        echo "''${font%:*}.''${style%:*}.latin-1=-misc-''${font#*:}''${style#*:}-medium-r-normal--*-%d-*-*-p-*-iso10646-1"
      done
    done
    echo sequence.allfonts=latin-1
    for face in {Sans,SansMono,Serif}{,-Bold}; do
      cp $(find -L ${dejavu_fonts}/share/fonts -name DejaVu$face.ttf) $share/java-fonts/
      echo "filename.-misc-$face-medium-r-normal--*-%d-*-*-p-*-iso10646-1=$share/java-fonts/DejaVu$face.ttf"
    done
  } > $share/java-fonts/fontconfig.properties

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

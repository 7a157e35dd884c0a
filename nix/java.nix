# A JDK: `java` compiles a source file before it runs it.
pkgs: {
  name = "Java";
  description = "Compile and run Java code.";
  contents = "Preview features are enabled. The heap has up to 768 MB.";
  entrypoint = "main.java";
  command = [
    "java"
    "--enable-preview"
    "main.java"
  ];
  ahead.SANDBOX_MCP_AHEAD = "1";
  timeout = 60;
  security.network = "none";
  # A JVM that compiles needs 512 MB before the program's own objects, and 30 threads of its own; 64 MB did not start it.
  resources.cpu = 1;
  resources.memory = 1024;
  resources.processes = 256;
  resources.files = 1024;
  mount.workdir = "/sandbox";
  packages = [ (pkgs.callPackage ./pkgs/jdk.nix { }) ];
}

# Go, its standard library compiled ahead: `go run` takes that from a read-only build cache.
pkgs: {
  name = "Golang";
  description = "Run Go code with the standard library. Modules cannot be downloaded: other packages must be among the files.";
  entrypoint = "main.go";
  # Other files of its package are compiled with it. Each may also be a program of its own, as long as there is no such file.
  command = [
    "sh"
    "-c"
    "[ -e go.mod ] || go mod init main 2> /dev/null; for f in *.go; do case $f in main.go | *_test.go) continue ;; esac; if grep -q '^package main' \"$f\" && ! grep -q '^func main()' \"$f\"; then exec go run . \"$@\"; fi; done; exec go run main.go \"$@\""
  ];
  hostPrograms = [
    "sh"
    "go"
  ];
  timeout = 60;
  parameters.files = [
    {
      name = "go.mod";
      description = "The default is that of a module `main`";
      optional = true;
    }
  ];
  security.network = "none";
  # The compiler and linker need 256 MB for hello already, which was all there was.
  resources.cpu = 1;
  resources.memory = 1024;
  resources.processes = 256;
  resources.files = 1024;
  mount.workdir = "/sandbox/src";
  packages = [ (pkgs.callPackage ./pkgs/go-with-build-cache.nix { }) ];
  variables.GOCACHE = "{environment}/share/sandbox-mcp/go-build";
  variables.CGO_ENABLED = "0";
  variables.GOPROXY = "off";
  variables.GOTOOLCHAIN = "local";
}

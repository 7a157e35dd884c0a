# The Rust compiler, and the C compiler that it links with.
pkgs: {
  name = "Rust";
  description = "Compile and run Rust code in an isolated environment.";
  entrypoint = "main.rs";
  command = [
    "sh"
    "-c"
    "rustc -o main main.rs && ./main"
  ];
  timeout = 60;
  security.network = "none";
  # rustc needs 256 MB for hello already, and starts as many threads as the host has cores: 64 MB and 64 were too few.
  resources.cpu = 1;
  resources.memory = 1024;
  resources.processes = 128;
  resources.files = 1024;
  mount.workdir = "/sandbox";
  packages = import ./lib/named.nix "rustc stdenv.cc" pkgs;
}

# The Rust compiler, the C compiler that it links with, and Cargo with crates.
pkgs: {
  name = "Rust";
  description = "Compile and run Rust code.";
  contents = "With a `Cargo.toml` in `files`, it is a Cargo package that may use anyhow, chrono, itertools, rand, rayon, regex, serde and serde_json.";
  entrypoint = "main.rs";
  instead."src/main.rs" = "";
  command = [
    "sh"
    "-c"
    "m=main.rs; [ -e $m ] || m=src/main.rs; if [ -e Cargo.toml ]; then [ -e src ] || ln -s . src; [ -e src/main.rs ] || ln -s ../main.rs src; cargo run --quiet --offline -- \"$@\"; else rustc --edition 2021 -o main $m && ./main \"$@\"; fi"
  ];
  # Cargo is missing on purpose: a host whose toolchain lacks it still runs single files.
  hostPrograms = [
    "sh"
    "rustc"
    "cc"
  ];
  timeout = 60;
  security.network = "none";
  # rustc needs 256 MB for hello already, and starts as many threads as the host has cores: 64 MB and 64 were too few.
  resources.cpu = 1;
  resources.memory = 1024;
  resources.processes = 128;
  resources.files = 1024;
  mount.workdir = "/sandbox";
  packages = [
    (pkgs.callPackage ./pkgs/cargo-with-crates.nix { })
    pkgs.rustc
    pkgs.stdenv.cc
  ];
}

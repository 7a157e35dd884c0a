# Stands in for nixpkgs where its binary cache is out of reach:
#
#     python3 checks/offline-nixpkgs/collect packages
#     python3 checks/offline-nixpkgs/collect crates Cargo.lock nix/pkgs/rust/Cargo.lock
#     python3 checks/offline-nixpkgs/collect sources nix/pkgs/apisix/sources.json checks/offline-nixpkgs/build/openresty.json
#     nix flake check --override-input nixpkgs path:$PWD/checks/offline-nixpkgs
#
# The attributes and functions that the project takes from nixpkgs, under the same names, as real store paths: unpacked from
# Debian's packages, with programs, libraries and scripts bound to store paths, so that closures are minimal and programs run
# where only their closure can be seen. Versions are Debian's. checks/run does all of the above.
#
#   packages.toml   attribute -> Debian packages, wheels, crates
#   collect/        packages.toml -> the store, lock.json, crates.json
#   graph.nix       which packages make which store path, and what those need
#   units.nix       lock.json -> one derivation for each of those, built by unit.sh
#   finish.nix      what single units need beyond that
#   build/          the builders: runCommand, buildEnv, buildRustPackage, ...
#   lib/            nixpkgs' lib, as far as it is used
{
  description = "A stand-in for nixpkgs, made of Debian packages";

  outputs = { self }: {
    lib = import ./lib;
    legacyPackages.x86_64-linux = import ./. { system = "x86_64-linux"; };
  };
}

# The tests, compiled once: those that need no sandbox have passed when this is built, and the programs of the others are in its
# bin, beside the launcher that they start. The server that they talk to is the package's own.
#
# Apart from the package, so that installing that takes no longer; with the portable manifest, so that a change of an
# environment compiles no test anew; without optimisation, which takes longer than the tests.
{ pkgs }:
import ./rust.nix { inherit pkgs; } {
  pname = "sandbox-mcp-tests";
  buildType = "debug";
  cargoBuildFlags = [
    "--workspace"
    "--tests"
  ];
  cargoTestFlags = [
    "--workspace"
    "--no-fail-fast"
    "--lib"
    "--test=build"
    "--test=codegen"
    "--test=store"
  ];
  # These run the programs of a machine, of which a builder has none where they look for them: `cargo test` runs them.
  checkFlags = map (module: "--skip=${module}::tests") [
    "executor::direct"
    "sandbox::host"
    "sandbox::launch"
    "sandbox::walls"
  ];

  # Cargo puts a hash after the name of a test's program. The launcher is what build.rs has made for the server.
  installPhase = ''
    runHook preInstall
    mkdir -p $out/bin
    built=target/*/debug
    for test in by-nix cases launcher mcp network; do
      cp "$(find $built/deps -name "''${test/-/_}-*" -type f -executable)" $out/bin/$test
    done
    cp $built/build/sandbox-mcp-*/out/launcher $out/bin/sandbox-launcher
    runHook postInstall
  '';
}

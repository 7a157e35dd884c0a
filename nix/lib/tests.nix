# The tests, compiled once: those that need no sandbox have passed when this is built, and the programs of the others are in its
# bin, beside a server that was built without Nix.
#
# Apart from the package, so that installing that takes no longer; with the portable manifest, so that a change of an
# environment compiles no test again; without optimisation, which takes longer than the tests.
{ lib, rust }:
let
  # Unit tests that run the programs of a machine, of which a builder has none where they look for them.
  onMachines = [
    "executor::direct"
    "sandbox::host"
    "sandbox::launch"
    "sandbox::walls"
  ];
in
rust.build {
  pname = "sandbox-mcp-tests";
  files = [
    rust.sources
    # Data of tests.
    ../../checks/attacks
    ../../checks/cases
  ];
  compiled = rust.debugDependencies;
  buildType = "debug";
  # Without benches, one of which has the name of a test.
  cargoBuildFlags = [
    "--workspace"
    "--bins"
    "--tests"
  ];
  env.SANDBOX_MCP_LAUNCHER = lib.getExe rust.launcher;

  doCheck = true;
  cargoTestFlags = [
    "--workspace"
    "--no-fail-fast"
    "--lib"
    "--test=build"
    "--test=build_script"
    "--test=codegen"
    "--test=conventions"
    "--test=rooms"
    "--test=store"
  ];
  checkFlags = map (module: "--skip=${module}::tests") onMachines;

  # Cargo puts a hash after the name of a test's program. Older ones are those of stubs, which rust.nix has dated to 1970.
  installPhase = ''
    runHook preInstall
    mkdir -p $out/bin
    built=target/*/debug
    programs() {
      find $built/deps -name "$1-*" -type f -executable -newermt @10
    }
    cp $built/sandbox-mcp $out/bin
    for test in attacks by-nix cases launcher mcp network realise store; do
      cp "$(programs ''${test/-/_})" $out/bin/$test
    done
    cp "$(programs sandbox_server)" $out/bin/unit
    ln -s ${lib.getExe rust.launcher} $out/bin/sandbox-launcher
    # checks/run reads which of the unit tests are left to it.
    mkdir $out/share
    echo ${toString onMachines} > $out/share/on-machines
    runHook postInstall
  '';
}

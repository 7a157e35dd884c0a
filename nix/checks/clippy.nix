# Clippy finds nothing, in tests and benches too.
{ pkgs, server }:
import ../lib/rust.nix { inherit pkgs; } {
  pname = "clippy";
  # What tests include at compile time.
  files = [
    ../../checks/codegen
    ../../checks/derivation
  ];
  nativeBuildInputs = [ pkgs.clippy ];
  buildPhase = ''
    runHook preBuild
    cargo clippy --offline --workspace --all-targets -- --deny warnings
    runHook postBuild
  '';
  doCheck = false;
  installPhase = ''
    runHook preInstall
    touch $out
    runHook postInstall
  '';
}

# Clippy finds nothing, in tests and benches too.
{ pkgs, server }:
server.rust.build {
  pname = "clippy";
  files = [ server.rust.sources ];
  compiled = server.rust.debugDependencies;
  nativeBuildInputs = [ pkgs.clippy ];
  env.SANDBOX_MCP_LAUNCHER = pkgs.lib.getExe server.rust.launcher;
  buildPhase = ''
    runHook preBuild
    cargo clippy --offline --workspace --all-targets --target ${pkgs.stdenv.hostPlatform.rust.rustcTarget} -- --deny warnings
    runHook postBuild
  '';
  installPhase = ''
    runHook preInstall
    touch $out
    runHook postInstall
  '';
}

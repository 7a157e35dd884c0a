# The server, compiled from a manifest.
{
  lib,
  rust,
  manifest,
  stdenv,
}:
rust.build {
  pname = "sandbox-mcp";

  # A user who installs the server compiles no tests: tests.nix does, and nix/checks runs them.
  files = [ rust.programSources ];
  compiled = rust.releaseLibraries;
  cargoBuildFlags = rust.releaseFlags;

  env = {
    # As for the libraries, which cargo would compile again otherwise.
    SANDBOX_MCP_LAUNCHER = lib.getExe rust.launcher;
    SANDBOX_MCP_MANIFEST = manifest;
  };

  # What the program says of its command line.
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    mkdir -p $out/share/{man/man1,bash-completion/completions,fish/vendor_completions.d,zsh/site-functions}
    $out/bin/sandbox-mcp man $out/share/man/man1
    $out/bin/sandbox-mcp completions bash > $out/share/bash-completion/completions/sandbox-mcp
    $out/bin/sandbox-mcp completions fish > $out/share/fish/vendor_completions.d/sandbox-mcp.fish
    $out/bin/sandbox-mcp completions zsh > $out/share/zsh/site-functions/_sandbox-mcp
  '';
}

# What makes interpreters wait for their call where they were started ahead of it.
pkgs:
let
  python = pkgs.python313;
in
{
  # A module that Python imports as it starts, if SANDBOX_MCP_AHEAD is set.
  python = python.pkgs.toPythonModule (
    pkgs.runCommand "sandbox-ahead" { nativeBuildInputs = [ python ]; } ''
      modules=$out/${python.sitePackages}
      mkdir -p $modules
      cp ${./ahead/sandbox_ahead.py} $modules/sandbox_ahead.py
      cp ${./ahead/sandbox_ahead.pth} $modules/sandbox_ahead.pth
      python3 -m compileall -q --invalidation-mode unchecked-hash $modules
    ''
  );
  # What Node.js is told to load by NODE_OPTIONS.
  javascript = pkgs.runCommand "sandbox-ahead" { } ''
    mkdir -p $out/share/sandbox-mcp
    cp ${./ahead/wait.cjs} $out/share/sandbox-mcp/wait.cjs
  '';
}

# What interpreters load before a program: it makes them wait for their call where they were started ahead of it, and do for the
# program what people take for granted.
{ python313, runCommand }:
{
  # A module that Python imports as it starts, if SANDBOX_MCP_AHEAD is set.
  python = python313.pkgs.toPythonModule (
    runCommand "sandbox-ahead" { nativeBuildInputs = [ python313 ]; } ''
      modules=$out/${python313.sitePackages}
      mkdir -p $modules
      cp ${./ahead/sandbox_ahead.py} $modules/sandbox_ahead.py
      cp ${./ahead/sandbox_ahead.pth} $modules/sandbox_ahead.pth
      python3 -m compileall -q --invalidation-mode unchecked-hash $modules
    ''
  );
  # What Node.js is told to load by NODE_OPTIONS.
  javascript = runCommand "sandbox-ahead" { } ''
    mkdir -p $out/share/sandbox-mcp
    cp ${./ahead/output.cjs} $out/share/sandbox-mcp/output.cjs
    cp ${./ahead/typescript.cjs} $out/share/sandbox-mcp/typescript.cjs
    cp ${./ahead/wait.cjs} $out/share/sandbox-mcp/wait.cjs
  '';
}

# Good and bad requests to the server, in Nix's own sandbox.
{ pkgs, server }:
pkgs.runCommand "mcp"
  {
    # Those that its calls use.
    environments = [
      server.environments.java
      server.environments.javascript
      server.environments.network-tools
      server.environments.python
      server.environments.shell
    ];
    package = server.packages.commands.packages.lua.environment;
    SANDBOX_MCP_BIN = pkgs.lib.getExe server.package;
  }
  ''
    export HOME=$TMPDIR
    ${server.tests}/bin/mcp
    touch $out
  ''

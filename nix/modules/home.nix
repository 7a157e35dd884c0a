# `homeModules.default`: the server in a user's profile, and as an MCP server for the clients that home-manager configures.
packages:
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  cfg = config.programs.sandbox-mcp;
  settings = import ./settings.nix { inherit lib; };
in
{
  _class = "homeManager";
  # A file that is imported through two flakes is still one module.
  _file = toString ./home.nix;
  key = toString ./home.nix;

  options.programs.sandbox-mcp = {
    enable = lib.mkEnableOption "sandbox-mcp, an MCP server that runs agents' code in sandboxes";

    package = import ./package.nix packages { inherit lib pkgs; };

    settings = lib.mkOption {
      type = lib.types.submodule { inherit (settings) options; };
      default = { };
      example = {
        executor = "namespace";
        timeout = 120;
      };
      description = ''
        How clients start the server. Used in `programs.mcp.servers.sandbox-mcp`, which home-manager has since November
        2025; clients take it up if `programs.mcp.enable` and their own `enableMcpIntegration` are set.
      '';
    };
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      { home.packages = [ cfg.package ]; }
      # `mkIf` would still define an option that an older home-manager does not have.
      (lib.optionalAttrs (options.programs ? mcp) {
        programs.mcp.servers.sandbox-mcp = {
          command = lib.getExe cfg.package;
          args = settings.toArguments cfg.settings;
        };
      })
    ]
  );
}

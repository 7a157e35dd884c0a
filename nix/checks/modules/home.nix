# The problems of `homeModules.default`, with a home-manager that has `programs.mcp` and with an older one.
{
  compare,
  lib,
  package,
  packages,
  pkgs,
  undocumented,
  ...
}:
let
  inherit (lib) mkOption types;

  module = import ../../modules/home.nix packages;

  homeManager.options.home.packages = mkOption {
    type = types.listOf types.package;
    default = [ ];
  };
  servers.options.programs.mcp.servers = mkOption {
    type = types.attrsOf (
      types.submodule {
        options = {
          command = mkOption { type = types.nullOr types.str; };
          args = mkOption { type = types.listOf types.str; };
        };
      }
    );
    default = { };
  };

  evaluate =
    modules:
    lib.evalModules {
      class = "homeManager";
      modules = [
        module
        module
        homeManager
        { _module.args = { inherit pkgs; }; }
      ]
      ++ modules;
    };

  check =
    subject: modules: expected:
    let
      inherit (evaluate modules) config;
    in
    compare subject {
      installed = lib.elem package config.home.packages;
      servers = config.programs.mcp.servers or null;
    } expected;

  enabled.programs.sandbox-mcp.enable = true;
  server = args: {
    sandbox-mcp = {
      command = lib.getExe package;
      inherit args;
    };
  };
in
check "home-manager, enabled"
  [
    servers
    enabled
  ]
  {
    installed = true;
    servers = server [ "--stdio" ];
  }
++
  check "home-manager, with settings"
    [
      servers
      enabled
      {
        programs.sandbox-mcp.settings = {
          executor = "namespace";
          timeout = 120;
          callsAtOnce = 4;
          callOptions = true;
          packages = false;
          extraArgs = [
            "--remote-builders"
            "prefer"
          ];
        };
      }
    ]
    {
      installed = true;
      servers = server [
        "--stdio"
        "--executor"
        "namespace"
        "--timeout"
        "120"
        "--calls-at-once"
        "4"
        "--call-options"
        "--no-packages"
        "--remote-builders"
        "prefer"
      ];
    }
++ check "home-manager, not enabled" [ servers ] {
  installed = false;
  servers = { };
}
++ check "home-manager without programs.mcp" [ enabled ] {
  installed = true;
  servers = null;
}
++ undocumented "home-manager" (evaluate [ ]).options.programs.sandbox-mcp

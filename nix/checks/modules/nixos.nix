# The problems of `nixosModules.default`, in configurations that contradict it and others that do not.
{
  compare,
  lib,
  nixos,
  package,
  packages,
  pkgs,
  undocumented,
  ...
}:
let
  module = import ../../modules/nixos.nix packages;

  evaluate =
    configuration:
    import nixos {
      inherit lib;
      system = null;
      modules = [
        # Twice, as by two modules that both import it.
        module
        module
        {
          nixpkgs.pkgs = pkgs;
          system.stateVersion = lib.trivial.release;
          # Slow to evaluate, and no subject here.
          documentation.enable = false;
        }
        configuration
      ];
    };

  # What the module is about, of a whole configuration.
  seen =
    configuration:
    let
      inherit (evaluate configuration) config;
      ours = lib.hasPrefix "programs.sandbox-mcp:";
    in
    {
      installed = lib.elem package config.environment.systemPackages;
      buildSandbox = config.nix.settings.sandbox;
      userNamespaces = config.security.allowUserNamespaces;
      unprivileged = config.boot.kernel.sysctl."-kernel.unprivileged_userns_clone" or null;
      ping = config.boot.kernel.sysctl."net.ipv4.ping_group_range";
      delegated = config.systemd.services."user@".serviceConfig.Delegate or null;
      unit = lib.hasInfix "Delegate=" config.systemd.units."user@.service".text;
      refused = lib.filter ours (
        map (assertion: assertion.message) (lib.filter (it: !it.assertion) config.assertions)
      );
      warned = lib.filter ours config.warnings;
    };

  check =
    subject: configuration: expected:
    let
      actual = seen configuration;
    in
    compare subject (
      actual
      // {
        refused = actual.refused != [ ];
        warned = actual.warned != [ ];
      }
    ) expected;

  enabled.programs.sandbox-mcp.enable = true;

  # A hardened machine: each default is the opposite of what a sandbox needs.
  hardened = {
    nix.settings.sandbox = lib.mkDefault false;
    security.allowUserNamespaces = lib.mkDefault false;
    boot.kernel.sysctl."net.ipv4.ping_group_range" = lib.mkOverride 950 "1 0";
    systemd.services."user@".serviceConfig.Delegate = lib.mkDefault "pids";
  };

  all = {
    installed = true;
    buildSandbox = true;
    userNamespaces = true;
    unprivileged = 1;
    ping = "0 2147483647";
    delegated = "cpu memory pids";
    unit = true;
    refused = false;
    warned = false;
  };
  nothing = {
    installed = false;
    buildSandbox = false;
    userNamespaces = false;
    unprivileged = null;
    ping = "1 0";
    delegated = "pids";
    unit = true;
    refused = false;
    warned = false;
  };
in
check "NixOS, enabled" enabled all
++ check "NixOS, enabled on a hardened machine" {
  imports = [
    enabled
    hardened
  ];
} all
++ check "NixOS, not enabled" hardened nothing
++ check "NixOS, without its requirements" {
  imports = [ hardened ];
  programs.sandbox-mcp = {
    enable = true;
    buildSandbox = false;
    cgroupDelegation = false;
    ping = false;
    userNamespaces = false;
  };
} (nothing // { installed = true; })
++
  check "NixOS, contradicted"
    {
      imports = [ enabled ];
      nix.settings.sandbox = "relaxed";
      boot.kernel.sysctl."net.ipv4.ping_group_range" = "1 0";
      systemd.services."user@".serviceConfig.Delegate = "yes";
    }
    (
      all
      // {
        buildSandbox = "relaxed";
        ping = "1 0";
        delegated = "yes";
        warned = true;
      }
    )
++
  check "NixOS, with user namespaces forbidden"
    {
      imports = [ enabled ];
      security.allowUserNamespaces = false;
    }
    (
      all
      // {
        userNamespaces = false;
        refused = true;
      }
    )
++ check "NixOS, with a limit of no user namespaces" {
  imports = [ enabled ];
  boot.kernel.sysctl."user.max_user_namespaces" = 0;
} (all // { refused = true; })
++ undocumented "NixOS" (evaluate { }).options.programs.sandbox-mcp

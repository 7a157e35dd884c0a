# `nixosModules.default`: the server on a NixOS machine that has what `sandbox-mcp doctor` asks for.
packages:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.programs.sandbox-mcp;

  # NixOS' own modules set some of this with `mkDefault`, and two such definitions conflict even where they are equal.
  # This goes before them, and after what a configuration says itself.
  prefer = lib.mkOverride 900;

  requirement =
    description:
    lib.mkOption {
      type = lib.types.bool;
      default = true;
      example = false;
      inherit description;
    };
in
{
  _class = "nixos";
  # A file that is imported through two flakes is still one module.
  _file = toString ./nixos.nix;
  key = toString ./nixos.nix;

  options.programs.sandbox-mcp = {
    enable = lib.mkEnableOption "sandbox-mcp, an MCP server that runs agents' code in sandboxes";

    package = import ./package.nix packages { inherit lib pkgs; };

    userNamespaces = requirement ''
      Whether to allow user namespaces, for unprivileged users too, as {option}`security.allowUserNamespaces` does.
      Sandboxes are made of them.
    '';

    buildSandbox = requirement ''
      Whether to have Nix build in its sandbox ({option}`nix.settings.sandbox`). Calls that Nix carries out (the executor
      `derivation`) run there.
    '';

    cgroupDelegation = requirement ''
      Whether to delegate the control groups for memory, processes and processor time to users' sessions
      ({option}`systemd.services."user@".serviceConfig.Delegate`), so that the kernel holds programs to their limits. Takes
      effect at the next login.
    '';

    ping = requirement ''
      Whether to let every group use the kernel's ping sockets ({option}`boot.kernel.sysctl."net.ipv4.ping_group_range"`),
      without which `ping` fails in the tool `network-tools`.
    '';
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      { environment.systemPackages = [ cfg.package ]; }

      (lib.mkIf cfg.userNamespaces {
        security.allowUserNamespaces = prefer true;
        # Only patched kernels have this one; with `-`, systemd-sysctl passes over it where it is missing.
        boot.kernel.sysctl."-kernel.unprivileged_userns_clone" = prefer 1;

        assertions = [
          {
            assertion = toString (config.boot.kernel.sysctl."user.max_user_namespaces" or "") != "0";
            message = ''
              programs.sandbox-mcp: cannot make sandboxes: this configuration forbids user namespaces;
              set security.allowUserNamespaces and remove a user.max_user_namespaces of 0 from boot.kernel.sysctl, or set
              programs.sandbox-mcp.userNamespaces to false.
            '';
          }
        ];
      })

      (lib.mkIf cfg.buildSandbox {
        nix.settings.sandbox = prefer true;

        warnings = lib.optional (config.nix.settings.sandbox != true) ''
          programs.sandbox-mcp: calls by Nix need its sandbox, but nix.settings.sandbox is not true; set it to true, or set
          programs.sandbox-mcp.buildSandbox to false.
        '';
      })

      (lib.mkIf cfg.cgroupDelegation {
        systemd.services."user@".serviceConfig.Delegate = prefer "cpu memory pids";
      })

      (lib.mkIf cfg.ping {
        boot.kernel.sysctl."net.ipv4.ping_group_range" = prefer "0 2147483647";
      })
    ]
  );
}

# What `programs.sandbox-mcp.settings` may say, and the command line that it makes.
{ lib }:
let
  inherit (lib) mkOption types;

  executors = [
    "auto"
    "namespace"
    "derivation"
    "derivation-cli"
    "direct"
  ];
in
{
  inherit executors;

  options = {
    executor = mkOption {
      type = types.nullOr (types.enum executors);
      default = null;
      example = "namespace";
      description = ''
        How programs are run: `namespace` in a sandbox of the server, `derivation` by Nix in its build sandbox,
        `derivation-cli` the same through Nix's commands, `direct` with the host's toolchains, `auto` by what each tool's
        definition says. `null` leaves the choice to the server.
      '';
    };

    timeout = mkOption {
      type = types.nullOr types.ints.positive;
      default = null;
      example = 120;
      description = ''
        The longest time in seconds that any program may run, whatever its tool allows. `null` leaves each tool its own
        limit.
      '';
    };

    limits = mkOption {
      type = types.attrsOf (types.attrsOf types.ints.positive);
      default = { };
      example.python = {
        timeout = 300;
        memory = 4096;
      };
      description = ''
        Limits by tool, higher or lower than those of its definition: `timeout` (seconds), `memory` and `disk` (MB), `processes`, `cpu`
        (cores) and `files` (open files of one process).
      '';
    };

    allow = mkOption {
      type = types.attrsOf (types.listOf types.str);
      default = { };
      example.python = [ "api.example.org:443" ];
      description = ''
        Hosts and ports by tool that its programs may connect to, in addition to those that its definition allows.
      '';
    };

    callsAtOnce = mkOption {
      type = types.nullOr (types.ints.between 1 65535);
      default = null;
      example = 4;
      description = ''
        How many programs run at the same time; further calls wait. `null` means twice the number of cores.
      '';
    };

    callOptions = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether clients may choose an executor and use cached results in single calls.
      '';
    };

    packages = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether clients may ask for packages in single calls.
      '';
    };

    extraArgs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [
        "--remote-builders"
        "prefer"
      ];
      description = ''
        Further arguments of the server; `sandbox-mcp --help` lists them.
      '';
    };
  };

  toArguments =
    settings:
    let
      option =
        flag: value:
        lib.optionals (value != null) [
          flag
          (toString value)
        ];
    in
    [ "--stdio" ]
    ++ option "--executor" settings.executor
    ++ option "--timeout" settings.timeout
    ++ lib.concatLists (
      lib.mapAttrsToList (
        tool: limits:
        lib.concatLists (
          lib.mapAttrsToList (key: value: option "--limit" "${tool}.${key}=${toString value}") limits
        )
      ) settings.limits
    )
    ++ lib.concatLists (
      lib.mapAttrsToList (tool: lib.concatMap (entry: option "--allow" "${tool}=${entry}")) settings.allow
    )
    ++ option "--calls-at-once" settings.callsAtOnce
    ++ lib.optional settings.callOptions "--call-options"
    ++ lib.optional (!settings.packages) "--no-packages"
    ++ settings.extraArgs;
}

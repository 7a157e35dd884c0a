# The arguments that the home module gives the server, taken by the server, which ends when its standard input does.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  inherit (import ../modules/settings.nix { inherit lib; }) executors toArguments;

  settings = executor: {
    inherit executor;
    timeout = 120;
    limits.python.timeout = 300;
    limits.shell = {
      memory = 100;
      disk = 50;
    };
    allow.python = [
      "api.example.org:443"
      "*.example.net:443"
    ];
    callsAtOnce = 4;
    callOptions = true;
    packages = false;
    extraArgs = [
      "--remote-builders"
      "prefer"
    ];
  };
  none = {
    executor = null;
    timeout = null;
    limits = { };
    allow = { };
    callsAtOnce = null;
    callOptions = false;
    packages = true;
    extraArgs = [ ];
  };
  commands = map (
    settings: "${lib.getExe server.package} ${lib.escapeShellArgs (toArguments settings)}"
  ) ([ none ] ++ map settings executors);
in
pkgs.runCommand "module-arguments" { } ''
  export HOME=$TMPDIR
  ${lib.concatMapStrings (command: "(set -x; ${command} < /dev/null)\n") commands}
  touch $out
''

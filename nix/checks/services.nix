# Services before the command, in derivations as the server makes them: what src/server/src/nix/run_derivation.rs says of their variables is all
# that a builder needs.
{ pkgs, server }:
let
  # One that runs a script of Python beside its server of files.
  run =
    script: variables:
    derivation (
      {
        name = "sandbox-mcp-run-python";
        inherit (pkgs.stdenv.hostPlatform) system;
        builder = "${pkgs.lib.getExe server.rust.launcher}";
        args = [
          "python"
          "-c"
          script
        ];
        environment = server.environments.python;
        "variable:PATH" = "${server.environments.python}/bin";
        timeout = 60;
        "resources.cpu" = 1;
        "resources.memory" = 512;
        "resources.processes" = 64;
        "resources.files" = 256;
        "mount.workdir" = "/sandbox";
        "mount.scriptPerms" = "0755";
        "mount.readOnly" = "";
        "security.network" = "none";
        user = "sandbox";
        "before.0.name" = "files";
        "before.0.command.0" = "python";
        "before.0.command.1" = "-m";
        "before.0.command.2" = "http.server";
        "before.0.command.3" = "8000";
        "before.0.ready" = "port 8000";
        "before.0.deadline" = 20;
      }
      // variables
    );

  fetch = ''
    from urllib.request import urlopen
    print(urlopen("http://127.0.0.1:8000/").status)
  '';
in
pkgs.runCommand "services"
  {
    served = run fetch { };
    failed = run "print('run')" { "before.0.command.2" = "no_such_module"; };
  }
  ''
    cat $served/* $failed/*
    [ "$(head -n 1 $served/ending)" = "exited 0" ]
    [ "$(cat $served/stdout)" = 200 ]
    [ ! -s $served/stderr ]
    [ "$(head -n 1 $failed/ending)" = "unready 0" ]
    [ ! -s $failed/stdout ]
    grep -q '^The service `files` did not start: it exited with status 1. The command was not run.$' $failed/stderr
    grep -q 'No module named no_such_module' $failed/stderr
    touch $out
  ''

# The cases of each sandbox: the real server over MCP, the real launcher, the real environment, all in Nix's own sandbox.
#
# The environment is there because the check depends on it, and so are packages. There is no nix-store to ask, nor is it needed
# for what is there. One that a package set can't build, since it has not got the sources, is passed over; `skipped` says so.
{ pkgs, server }:
let
  inherit (pkgs) lib;
  root = ../../checks/cases;
  commands = server.packages.commands.packages;
  modules = server.packages.python.packages;
  # What cases ask for by name.
  asked = {
    python = [
      modules.jinja2
      modules.pandas
      modules.pytest
      modules.regex
      modules.rich
      modules.tabulate
    ];
    javascript = [ commands.lua ];
    shell = [
      commands.hexyl
      commands.lua
      commands.miller
      commands.zstd
    ];
  };

  isAvailable =
    id: lib.all (package: package.meta.available or true) server.definitions.${id}.packages;
  skipped =
    id:
    let
      reason = "sources of ${id} are not in the store";
    in
    pkgs.runCommand "cases-${id}" { passthru.skipped = reason; } ''
      echo "skipped: ${reason}"
      touch $out
    '';
in
lib.mapAttrs' (
  id: environment:
  lib.nameValuePair "cases-${id}" (
    if !isAvailable id then
      skipped id
    else
      pkgs.runCommand "cases-${id}"
        {
          inherit environment;
          packages = map (package: package.environment) (asked.${id} or [ ]);
          SANDBOX_MCP_BIN = lib.getExe server.package;
          SANDBOX_MCP_CASES = lib.fileset.toSource {
            inherit root;
            fileset = root + "/${id}.yaml";
          };
          # A case that can't run with this executor fails, instead of being passed over.
          SANDBOX_MCP_EXECUTORS = "namespace";
        }
        ''
          export HOME=$TMPDIR
          ${server.tests}/bin/cases
          touch $out
        ''
  )
) server.environments

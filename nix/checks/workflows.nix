# The workflows of .github are ones that GitHub takes, by actionlint, which also has shellcheck read their scripts.
{ pkgs, server }:
let
  reason = "this package set has no actionlint";
in
if pkgs ? actionlint then
  pkgs.runCommand "workflows" { workflows = ../../.github/workflows; } ''
    ${pkgs.lib.getExe pkgs.actionlint} $workflows/*.yml
    touch $out
  ''
else
  pkgs.runCommand "workflows" { passthru.skipped = reason; } ''
    echo "skipped: ${reason}"
    touch $out
  ''

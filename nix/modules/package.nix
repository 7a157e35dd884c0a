# The option `programs.sandbox-mcp.package` of both modules: the server that the flake builds, unless another is named.
packages:
{ lib, pkgs }:
let
  inherit (pkgs.stdenv.hostPlatform) system;
  ofThisSystem =
    packages.${system}
      or (throw "cannot install sandbox-mcp on ${system}: it runs on ${lib.concatStringsSep " and " (lib.attrNames packages)}; set programs.sandbox-mcp.enable to false there");
in
lib.mkPackageOption ofThisSystem "sandbox-mcp" {
  pkgsText = "sandbox-mcp.packages.\${system}";
  example = ''
    (sandbox-mcp.lib.mkServer {
      inherit pkgs;
      sandboxes = own: own // { perl = ./perl.nix; };
    }).package
  '';
}

{
  description = "An MCP server that lets an AI agent run code in pinned Nix environments, isolated by Linux namespaces";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      sandboxMcp = import ./nix/lib;
      # Those that this nixpkgs has: another one may stand in for it, which has fewer.
      systems = builtins.filter (system: nixpkgs.legacyPackages ? ${system}) [
        "x86_64-linux"
        "aarch64-linux"
      ];
      servers = lib.genAttrs systems (system: sandboxMcp.mkServer { inherit nixpkgs system; });
      forAllSystems = outputs: lib.mapAttrs (system: outputs nixpkgs.legacyPackages.${system}) servers;
    in
    {
      lib = sandboxMcp;

      packages = forAllSystems (
        pkgs: server:
        server.environments
        // {
          default = server.package;
          sandbox-mcp = server.package;
          inherit (server) docs manifest tests;
          portable-manifest = server.portableManifest;
        }
      );

      checks = forAllSystems (pkgs: server: import ./nix/checks { inherit pkgs server; });

      devShells = forAllSystems (
        pkgs: server: {
          default = pkgs.mkShell {
            inputsFrom = [
              server.package
              server.rust.launcher
            ];
            packages = [
              pkgs.clippy
              pkgs.rustfmt
              pkgs.nixfmt-tree
            ];
          };
        }
      );

      formatter = forAllSystems (pkgs: server: pkgs.nixfmt-tree);

      overlays.default = final: prev: {
        sandbox-mcp = (sandboxMcp.mkServer { pkgs = final; }).package;
      };

      nixosModules.default = import ./nix/modules/nixos.nix self.packages;

      homeModules.default = import ./nix/modules/home.nix self.packages;
    };
}

{
  description = "An MCP server that lets an AI agent run code in pinned Nix environments, isolated by Linux namespaces";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      lib = import ./nix/lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAllSystems =
        outputs:
        nixpkgs.lib.genAttrs systems (
          system:
          outputs nixpkgs.legacyPackages.${system} (lib.mkServer { pkgs = nixpkgs.legacyPackages.${system}; })
        );
    in
    {
      inherit lib;

      packages = forAllSystems (
        pkgs: server:
        server.environments
        // {
          default = server.package;
          sandbox-mcp = server.package;
          inherit (server) manifest;
          portable-manifest = server.portableManifest;
        }
      );

      apps = forAllSystems (
        pkgs: server: {
          default = {
            type = "app";
            program = "${server.package}/bin/sandbox-mcp";
            meta = { inherit (server.package.meta) description; };
          };
        }
      );

      checks = forAllSystems (pkgs: server: import ./nix/checks { inherit pkgs server; });

      devShells = forAllSystems (
        pkgs: server: {
          default = pkgs.mkShell {
            inputsFrom = [ server.package ];
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
        sandbox-mcp = (lib.mkServer { pkgs = final; }).package;
      };

      nixosModules.default = import ./nix/modules/nixos.nix self.packages;

      homeModules.default = import ./nix/modules/home.nix self.packages;
    };
}

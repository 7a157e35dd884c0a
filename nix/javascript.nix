# Node.js without npm: there is no network to install from. It runs TypeScript without checking it.
pkgs:
let
  options = "--require={environment}/share/sandbox-mcp/output.cjs --require={environment}/share/sandbox-mcp/typescript.cjs";
in
{
  name = "JavaScript";
  description = "Run JavaScript code with Node.js.";
  contents = "Available modules: Node's own, chalk, commander, lodash, semver; others cannot be installed. TypeScript runs too, unchecked.";
  entrypoint = "index.js";
  instead."index.ts" = "import(\"./index.ts\");\n";
  command = [
    "node"
    "index.js"
  ];
  ahead.NODE_OPTIONS = "${options} --require={environment}/share/sandbox-mcp/wait.cjs";
  timeout = 60;
  security.network = "none";
  # V8 reserves 512 MB for compiled code before it starts; 64 MB did not start it.
  resources.cpu = 1;
  resources.memory = 1024;
  resources.processes = 64;
  resources.files = 1024;
  mount.workdir = "/sandbox/src";
  packages = [
    pkgs.nodejs-slim
    (pkgs.callPackage ./pkgs/node-modules.nix { })
    (pkgs.callPackage ./pkgs/ahead.nix { }).javascript
  ];
  variables.NODE_ENV = "production";
  variables.NODE_NO_WARNINGS = "1";
  variables.NODE_OPTIONS = options;
}

# Node.js without npm: there is no network to install from.
pkgs: {
  name = "JavaScript";
  description = "Run JavaScript code in an isolated environment using Node.js.";
  entrypoint = "index.js";
  command = [
    "node"
    "index.js"
  ];
  timeout = 60;
  security.network = "none";
  # V8 does not start below 128 MB, so that 64 left nothing to run.
  resources.cpu = 1;
  resources.memory = 512;
  resources.processes = 64;
  resources.files = 1024;
  mount.workdir = "/sandbox/src";
  packages = [ pkgs.nodejs-slim ];
  variables.NODE_ENV = "production";
  variables.NODE_OPTIONS = "--no-warnings";
}

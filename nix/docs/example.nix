pkgs: {
  name = "Lua";
  description = "Run Lua scripts in an isolated environment.";
  entrypoint = "main.lua";
  command = [
    "lua"
    "main.lua"
  ];
  timeout = 60;
  security.network = "none";
  resources = {
    cpu = 1;
    memory = 256;
    processes = 32;
    files = 256;
  };
  mount.workdir = "/sandbox";
  packages = [ pkgs.lua5_4 ];
}

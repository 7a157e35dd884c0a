# A definition that is right, but for the changes.
changes: pkgs:
{
  name = "Good";
  description = "Nothing is wrong with it.";
  entrypoint = "main.sh";
  command = [
    "sh"
    "main.sh"
  ];
  timeout = 60;
  security.network = "none";
  resources.cpu = 1;
  resources.memory = 64;
  resources.processes = 64;
  resources.files = 64;
  mount.workdir = "/sandbox";
  packages = [ ];
}
// changes

# refusals/services.nix: before[0].command: must not be empty
# refusals/services.nix: before[0].deadline: must be a whole number above zero, but is 0
# refusals/services.nix: before[0].logs[0]: must be an absolute path, but is "error.log"
# refusals/services.nix: before[0].name: missing; it must be a string that is not blank
# refusals/services.nix: before[0].ready.port: must be a port from 1 to 65535, or null, but is 65536
# refusals/services.nix: before[1]: must be a set, but is 1
import ./good.nix {
  before = [
    {
      command = [ ];
      deadline = 0;
      logs = [ "error.log" ];
      ready.port = 65536;
    }
    1
  ];
}

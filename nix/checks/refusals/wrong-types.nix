# refusals/wrong-types.nix: command[1]: must be a string that is not blank, but is 1
# refusals/wrong-types.nix: executor: must be null or "namespace" or "derivation", but is "direct"
# refusals/wrong-types.nix: hints.isReadOnly: must be true, false or null, but is "yes"
# refusals/wrong-types.nix: hostPrograms[1]: must be the name of a program, without a directory, but is "/bin/sh"
# refusals/wrong-types.nix: packages[0]: must be a package, but is "bash"
# refusals/wrong-types.nix: timeout: must be a whole number above zero, but is a fraction
import ./good.nix {
  command = [
    "sh"
    1
  ];
  executor = "direct";
  hints.isReadOnly = "yes";
  hostPrograms = [
    "sh"
    "/bin/sh"
  ];
  packages = [ "bash" ];
  timeout = 1.5;
}

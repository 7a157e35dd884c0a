# refusals/missing-key.nix: resources.memory: missing; it must be a whole number above zero
import ./good.nix {
  resources.cpu = 1;
  resources.processes = 64;
  resources.files = 64;
}

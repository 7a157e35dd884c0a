# refusals/unknown-key.nix: security.nework: unknown key; security has capDrop, network, readOnly, securityOpt
import ./good.nix {
  security.network = "none";
  security.nework = "bridge";
}

# refusals/unknown-key.nix: security.nework: unknown key; security has network, readOnly
import ./good.nix {
  security.network = "none";
  security.nework = "bridge";
}

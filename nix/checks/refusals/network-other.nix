# refusals/network-other.nix: security.network: must be "none" or "bridge" or a list, each item a host and port such as api.example.org:443 or *.example.org:443, but is "host"
import ./good.nix { security.network = "host"; }

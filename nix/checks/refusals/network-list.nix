# refusals/network-list.nix: security.network[1]: must be a host and port such as api.example.org:443 or *.example.org:443, but is "example.org"
# refusals/network-list.nix: security.network[2]: must be a host and port such as api.example.org:443 or *.example.org:443, but is 443
# refusals/network-list.nix: security.network[3]: must be a host and port such as api.example.org:443 or *.example.org:443, but is "a.*.example.org:443"
import ./good.nix {
  security.network = [
    "*.example.org:443"
    "example.org"
    443
    "a.*.example.org:443"
    "8.8.8.8:53"
  ];
}

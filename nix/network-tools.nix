# The one sandbox that reaches the network, and the tools to look at it.
pkgs: {
  name = "Network Tools";
  description = "Run shell scripts with network access, for network diagnostics and troubleshooting.";
  # tcpdump is there to read files of captures: nobody can capture without privileges.
  programs.names = [
    "curl"
    "wget"
    "dig"
    "nslookup"
    "host"
    "ping"
    "tracepath"
    "mtr"
    "traceroute"
    "nmap"
    "nc"
    "socat"
    "whois"
    "ip"
    "ss"
    "ifconfig"
    "netstat"
    "route"
    "arp"
    "iperf3"
    "openssl"
    "jq"
    "http (HTTPie)"
  ];
  hints.isDestructive = true;
  hints.isIdempotent = false;
  entrypoint = "main.sh";
  command = [
    "sh"
    "main.sh"
  ];
  timeout = 60;
  security.network = "bridge";
  # nmap's scripts and fingerprints outgrow 64 MB, its parallel probes 96 open files.
  resources.cpu = 1;
  resources.memory = 256;
  resources.processes = 64;
  resources.files = 512;
  mount.workdir = "/sandbox";
  packages = [
    pkgs.curl
    pkgs.dnsutils
    pkgs.bind.host
    pkgs.wget
    pkgs.whois
    pkgs.iproute2
    pkgs.iputils
    pkgs.mtr
    pkgs.less
    pkgs.net-tools
    pkgs.traceroute
    pkgs.iperf3
    pkgs.netcat-openbsd
    pkgs.nmap
    pkgs.procps
    pkgs.socat
    pkgs.tcpdump
    pkgs.httpie
    pkgs.jq
    pkgs.openssl
    pkgs.unixtools.hostname
  ];
  variables.TERM = "dumb";
}

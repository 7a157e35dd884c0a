# Apache APISIX as a gateway that takes its routes from a file: up before the script starts, and gone with the call.
pkgs: {
  name = "Apache APISIX";
  description = "Apache APISIX serves `apisix.yaml` on http://127.0.0.1:9080 (TLS: 9443) before the script starts; its errors follow stderr. Upstream names are 127.0.0.1 (`python3 -m http.server 1980 &`).";
  programs.names = [
    "curl"
    "jq"
    "nc"
    "openssl"
    "python3"
    "socat"
  ];
  entrypoint = "main.sh";
  before = [
    {
      name = "gateway";
      command = [ "apisix-gateway" ];
      deadline = 20;
      logs = [ "/tmp/apisix/logs/error.log" ];
      errors = [
        "[error]"
        "[crit]"
        "[alert]"
        "[emerg]"
      ];
    }
  ];
  command = [
    "sh"
    "main.sh"
  ];
  timeout = 60;
  parameters.files = [
    {
      name = "apisix.yaml";
      description = "APISIX route configuration file";
    }
  ];
  security.network = "none";
  resources.cpu = 1;
  resources.memory = 256;
  resources.processes = 256;
  # The gateway takes half of them for its connections.
  resources.files = 1024;
  mount.workdir = "/sandbox";
  packages = [
    # Those that need neither a service of others nor the gateway's own patched runtime.
    (pkgs.callPackage ./pkgs/apisix-gateway.nix {
      plugins = [
        "api-breaker"
        "basic-auth"
        "body-transformer"
        "consumer-restriction"
        "cors"
        "csrf"
        "echo"
        "fault-injection"
        "file-logger"
        "forward-auth"
        "hmac-auth"
        "http-logger"
        "ip-restriction"
        "jwe-decrypt"
        "jwt-auth"
        "key-auth"
        "limit-conn"
        "limit-count"
        "limit-req"
        "mocking"
        "multi-auth"
        "opa"
        "prometheus"
        "proxy-cache"
        "proxy-mirror"
        "proxy-rewrite"
        "public-api"
        "redirect"
        "referer-restriction"
        "request-id"
        "request-validation"
        "response-rewrite"
        "serverless-post-function"
        "serverless-pre-function"
        "tcp-logger"
        "traffic-split"
        "ua-restriction"
        "udp-logger"
        "uri-blocker"
        "workflow"
      ];
    })
    pkgs.curl
    pkgs.jq
    pkgs.netcat-openbsd
    pkgs.openssl
    pkgs.python313
    pkgs.socat
  ];
}

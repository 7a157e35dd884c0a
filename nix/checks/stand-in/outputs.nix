# Which programs are in which output of a package, where the flake asks for one.
pkgs:
let
  has = package: programs: { inherit package programs; };
  check =
    sign:
    { package, programs }:
    pkgs.lib.concatMapStrings (program: "[ ${sign} -e ${package}/bin/${program} ]\n") (
      pkgs.lib.splitString " " programs
    );
in
pkgs.runCommand "outputs" { } ''
  set -x
  ${check "" (has pkgs.dnsutils "dig nslookup")}
  ${check "!" (has pkgs.dnsutils "host")}
  ${check "" (has pkgs.bind.host "host")}
  ${check "" (has pkgs.glibc.bin "iconv locale")}
  ${check "!" (has pkgs.glibc.bin "getent")}
  ${check "!" (has pkgs.glibc.out "getent iconv locale")}
  ${check "" (has pkgs.glibc.getent "getent")}
  ${check "!" (has pkgs.curl.out "curl")}
  ${check "!" (has pkgs.jq.out "jq")}
  ${check "!" (has pkgs.openssl.out "openssl")}
  ${check "!" (has pkgs.sqlite.out "sqlite3")}
  touch $out
''

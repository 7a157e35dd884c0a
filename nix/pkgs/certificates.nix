# Certificates of the certification authorities, by the names that programs look for: those of NixOS, and OpenSSL's own.
{ cacert, runCommand }:
runCommand "sandbox-certificates" { } ''
  bundle=${cacert}/etc/ssl/certs/ca-bundle.crt
  mkdir -p $out/etc/ssl/certs
  ln -s $bundle $out/etc/ssl/cert.pem
  ln -s $bundle $out/etc/ssl/certs/ca-bundle.crt
  ln -s $bundle $out/etc/ssl/certs/ca-certificates.crt
''

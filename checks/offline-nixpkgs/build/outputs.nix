# The packages whose parts nixpkgs has as outputs, as far as the project could notice. The first output is the package.
{
  pkgs,
  lib,
  programs,
  units,
}:
let
  # Each is a derivation by itself, whose one output is all that Nix's own commands know of.
  split =
    name: order: outputs:
    let
      main = outputs.${lib.head order};
      installed = import ./outputs-to-install.nix lib order;
    in
    lib.extendDerivation true {
      inherit name;
      pname = name;
      outputs = order;
      meta =
        main.meta or { }
        // lib.optionalAttrs (installed != [ (lib.head order) ]) { outputsToInstall = installed; };
    } (main // outputs // { outputs = order; });

  # Programs apart from the library that they are made of.
  binAndOut =
    name: library:
    split name [ "bin" "out" ] {
      bin = programs.${name};
      out = units.${library};
    };

  # A directory of links: gcc goes up from those that it is told to look into.
  linkAll =
    name: directory: source:
    pkgs.runCommandLocal name { } ''
      mkdir -p $out/${directory}
      ln -s ${source}/* -t $out/${directory}
    '';

  getent = "bin/getent";
in
{
  curl = binAndOut "curl" "libcurl4t64";
  jq = binAndOut "jq" "libjq1";
  openssl = binAndOut "openssl" "libssl3t64";
  sqlite = binAndOut "sqlite" "libsqlite3-0";

  bind = split "bind" [ "out" "dnsutils" "host" ] {
    out = units.bind9-libs;
    inherit (programs) dnsutils;
    host = programs.bind-host;
  };
  inherit (pkgs.bind) dnsutils host;

  glibc = split "glibc" [ "out" "bin" "dev" "static" "getent" ] {
    out = pkgs.runCommandLocal "glibc" { } ''
      mkdir -p $out/lib $out/share
      ln -s ${programs.gcc}/lib/x86_64-linux-gnu/* -t $out/lib
      ln -s ${programs.locales}/share/i18n $out/share/i18n
    '';
    # Debian's iconv looks for its tables below /usr.
    bin = pkgs.runCommandLocal "glibc-bin" { } ''
      cp -r --no-preserve=mode --symbolic-link ${programs.libc-bin} $out
      rm $out/${getent} $out/bin/iconv
      cat > $out/bin/iconv <<'END'
      #!${pkgs.bash}/bin/bash
      GCONV_PATH=${units.libc6}/lib/x86_64-linux-gnu/gconv exec ${programs.libc-bin}/bin/iconv "$@"
      END
      chmod +x $out/bin/iconv
    '';
    dev = linkAll "glibc-dev" "include" "${programs.gcc}/include";
    # Archives only.
    static = linkAll "glibc-static" "lib" "${programs.gcc}/static/lib";
    getent = pkgs.linkFarm "glibc-getent" { ${getent} = "${programs.libc-bin}/${getent}"; };
  };
}

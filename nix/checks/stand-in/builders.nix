# What a builder finds in its environment.
pkgs:
let
  program =
    name: says:
    pkgs.runCommand name { } ''
      mkdir -p $out/bin
      printf '#!%s\necho ${says}\n' "$(type -P bash)" > $out/bin/rule
      chmod +x $out/bin/rule
    '';
  native = program "native" "first";
  later = program "later" "second";
  of =
    arguments:
    pkgs.runCommand "found" arguments ''
      rule > $out || echo none > $out
    '';
in
pkgs.runCommandCC "builders"
  {
    ordered = of {
      nativeBuildInputs = [
        native
        later
      ];
    };
    loose = of { buildInputs = [ later ]; };
    strict = of {
      buildInputs = [ later ];
      strictDeps = true;
    };
  }
  ''
    set -x
    grep -qx first $ordered
    grep -qx second $loose
    grep -qx none $strict

    # A pattern that nothing matches is no word.
    [ -z "$(echo $NIX_BUILD_TOP/no-such-*)" ]
    [ $HOME = /homeless-shelter ]
    [ $TZ = UTC ]
    [ $SOURCE_DATE_EPOCH = 315532800 ]
    touch $out
  ''

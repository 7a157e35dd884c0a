# The linker looks into inputs in their order and into the C library's own directory last, and takes of each directory what links
# dynamically or else what links statically. `glibc.static` has only the latter.
pkgs:
let
  link =
    name: buildInputs:
    pkgs.runCommandCC name
      {
        inherit buildInputs;
        text = "#include <stdlib.h>\nint *f(void) { return malloc(1); }\nint main(void) { return !f(); }\n";
        passAsFile = [ "text" ];
      }
      ''
        cp $textPath text.c
        mkdir $out
        gcc -shared -fPIC -o $out/shared text.c || true
        gcc -static-pie -fPIE -o $out/static text.c || true
      '';
in
pkgs.runCommandCC "libraries"
  {
    neither = link "neither" [ ];
    staticOnly = link "static-only" [ pkgs.glibc.static ];
    both = link "both" [
      pkgs.glibc.out
      pkgs.glibc.static
    ];
    reversed = link "reversed" [
      pkgs.glibc.static
      pkgs.glibc.out
    ];
    inherit (pkgs.glibc) static;
    glibc = pkgs.glibc.out;
  }
  ''
    set -x
    is_dynamic() { [ -e $1 ] && [[ $(readelf --dynamic $1) == *NEEDED*libc.so.6* ]]; }
    is_static() { [ -e $1 ] && [[ $(readelf --dynamic $1) != *NEEDED* ]]; }
    no() { if "$@"; then return 1; fi; }

    is_dynamic $neither/shared
    no is_static $neither/static
    no is_dynamic $staticOnly/shared
    is_static $staticOnly/static
    no is_dynamic $reversed/shared
    is_dynamic $both/shared
    is_static $both/static
    $both/static

    [ -e $glibc/lib/libc.so ]
    [ -e $static/lib/libc.a ]
    [ -z "$(find $static/lib/ -name '*.so*')" ]
    touch $out
  ''

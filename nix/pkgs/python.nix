# Python with these of its packages, by their names, and with a matplotlib whose figures become artifacts.
names: pkgs:
let
  figures = import ./figures.nix pkgs;
in
[
  (pkgs.python313.withPackages (set: [ figures ] ++ import ../lib/named.nix names set))
  figures
]

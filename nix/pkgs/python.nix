# Python with these of its packages, by their names, and with a matplotlib whose figures become artifacts.
names: pkgs:
let
  figures = import ./figures.nix pkgs;
  modules = set: import ../lib/named.nix names set;
in
[
  (pkgs.python313.withPackages (set: [ figures ] ++ modules set) // { inherit modules; })
  figures
]

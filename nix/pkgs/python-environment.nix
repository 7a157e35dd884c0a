# Python with these of its packages, by their names, which can be started ahead of its call, and with a matplotlib whose
# figures become artifacts.
names: pkgs:
let
  figures = import ./figures.nix pkgs;
  ahead = (import ./ahead.nix pkgs).python;
  modules = set: import ../lib/named.nix names set;
  environment = pkgs.python313.withPackages (
    set:
    modules set
    ++ [
      ahead
      figures
    ]
  );
in
[
  (environment // { inherit modules; })
  figures
]

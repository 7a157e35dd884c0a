# The attributes that the project uses, by the names of nixpkgs 26.05.
{ system }:
let
  inherit (import ./units.nix { inherit lib system; }) programs pythonModules libc6;
  lib = import ./lib;

  pkgs =
    removeAttrs programs [
      "bind-host"
      "gcc"
      "libc-bin"
      "xxd"
    ]
    // import ./build/stdenv.nix {
      inherit pkgs lib system;
      gcc = programs.gcc;
    }
    // import ./build/text.nix { inherit pkgs lib; }
    // import ./build/trees.nix { inherit pkgs lib; }
    // import ./build/python.nix {
      inherit pkgs lib pythonModules;
      python = programs.python313;
    }
    // import ./build/rust.nix { inherit pkgs lib; }
    // import ./build/nixfmt.nix { inherit pkgs lib; }
    // import ./build/github.nix { inherit pkgs lib programs; }
    // import ./build/openresty.nix { inherit pkgs lib; }
    // {
      inherit lib system;
      # What nixpkgs has may be missing here.
      isStandIn = true;
      unixtools.xxd = programs.xxd;
      bind.host = programs.bind-host;
      glibc = libc6 // {
        out = pkgs.linkFarm "glibc" { lib = "${programs.gcc}/lib/x86_64-linux-gnu"; };
        bin = programs.libc-bin;
        static = pkgs.linkFarm "glibc-static" { lib = "${programs.gcc}/static/lib"; };
      };
      callPackage = lib.callPackageWith pkgs;
    };
in
pkgs

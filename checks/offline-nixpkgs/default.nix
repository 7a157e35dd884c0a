# The attributes that the project uses, by the names of nixpkgs 26.05.
{ system }:
let
  inherit (import ./units.nix { inherit lib system; })
    programs
    pythonModules
    units
    ;
  lib = import ./lib;

  pkgs =
    import ./aliases.nix
    // removeAttrs programs [
      "bind-host"
      "gcc"
      "hostname"
      "libc-bin"
      "locales"
      "xxd"
    ]
    // import ./build/outputs.nix {
      inherit
        pkgs
        lib
        programs
        units
        ;
    }
    // import ./build/stdenv.nix {
      inherit pkgs lib system;
      gcc = programs.gcc;
    }
    // import ./build/text.nix { inherit pkgs lib; }
    // import ./build/trees.nix { inherit pkgs lib; }
    // import ./build/testers.nix { inherit pkgs; }
    // import ./build/python.nix {
      inherit pkgs lib pythonModules;
      python = programs.python313;
    }
    // import ./build/rust.nix { inherit pkgs lib; }
    // import ./build/nixfmt.nix { inherit pkgs lib; }
    // import ./build/github.nix { inherit pkgs lib programs; }
    // import ./build/openresty.nix { inherit pkgs lib; }
    // {
      inherit lib;
      # What nixpkgs has may be missing here.
      isStandIn = true;
      unixtools = { inherit (programs) hostname xxd; };
      callPackage = lib.callPackageWith pkgs;
    };
in
pkgs

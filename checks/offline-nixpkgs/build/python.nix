# python313.withPackages: Python and modules linked together, with a wrapper for a program.
{
  pkgs,
  lib,
  python,
  pythonModules,
}:
let
  modulesOf =
    package:
    lib.filter (other: lib.hasPrefix "python3-" other.pname || pythonModules ? ${other.pname}) (
      [ package ] ++ package.below
    );
  requiredPythonModules = modules: lib.unique (lib.concatMap modulesOf modules);

  wrapper = pkgs.runCommandCC "python-wrapper" { buildInputs = [ pkgs.glibc.static ]; } ''
    gcc -Os -static -s -DPYTHON='"${python}/bin/python3.13"' -x c ${./python-env.c} -o $out
  '';

  withPackages =
    choose:
    pkgs.buildEnv {
      name = "python3-3.13-env";
      paths = requiredPythonModules (choose pythonModules) ++ [
        python
        # So that bin is a directory and no link.
        (pkgs.runCommandLocal "bin" { } "mkdir -p $out/bin")
      ];
      ignoreCollisions = true;
      postBuild = ''
        cp ${wrapper} $out/bin/python3.13 --remove-destination
        ln -sf python3.13 $out/bin/python3
        ln -sf python3.13 $out/bin/python
      '';
      meta.mainProgram = "python3.13";
    };
in
{
  python313 = python // {
    inherit withPackages;
    sitePackages = "lib/python3/dist-packages";
    pkgs = pythonModules // {
      inherit requiredPythonModules;
      toPythonModule =
        package:
        package
        // {
          pname = "python3-${package.name}";
          below = [ ];
        };
    };
  };
}

# python313.withPackages: a virtual environment in the store.
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

  withPackages =
    choose:
    pkgs.runCommandCC "python3-3.13-env"
      {
        paths = lib.concatMap modulesOf (choose pythonModules);
        buildInputs = [ pkgs.glibc.static ];
        ignoreCollisions = true;
        meta.mainProgram = "python3.13";
      }
      ''
        site=$out/lib/python3.13/site-packages
        mkdir -p $out/bin $out/lib/python3.13
        echo "home = ${python}/bin" > $out/pyvenv.cfg
        env out=$site pathsToLink=/ paths="$(printf '%s/lib/python3/dist-packages ' $paths)" bash -eu ${./build-env.sh}

        gcc -Os -static -s -DPYTHON='"${python}/bin/python3.13"' -DSELF='"'$out'/bin/python3.13"' \
          -x c ${./python-env.c} -o $out/bin/python3.13
        ln -s python3.13 $out/bin/python3
        ln -s python3.13 $out/bin/python
      '';
in
{
  python313 = python // {
    inherit withPackages;
    sitePackages = "lib/python3/dist-packages";
    pkgs = pythonModules // {
      requiredPythonModules = modules: lib.unique (lib.concatMap modulesOf modules);
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

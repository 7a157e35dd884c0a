# Python modules for matplotlib: by the one, `plt.show()` saves figures to where artifacts are taken from, by the other its text
# is drawn in the environment's fonts. And the settings that make matplotlib use the first.
#
# Settings in a file of the environment, since MPLBACKEND would stay set where the program runs on the host's Python, which
# can't import the module. A program may still choose another backend, by that variable or by itself; those that only write
# files show figures all the same (figures/sandbox_figures_hook.py).
{
  callPackage,
  lib,
  python313,
  runCommand,
}:
let
  fonts = callPackage ./fonts.nix { };
  inherit (lib.importJSON ./fonts/names.json) fallback;
in
python313.pkgs.toPythonModule (
  runCommand "sandbox-figures"
    { nativeBuildInputs = [ (python313.withPackages (python: [ python.matplotlib ])) ]; }
    ''
      modules=$out/${python313.sitePackages} share=$out/share/sandbox-mcp
      mkdir -p $modules $share
      cp ${./figures}/* $modules/
      sed -i "s|@share@|$share|; s|@fallback@|${lib.concatStringsSep "," fallback}|" $modules/sandbox_fonts.py
      python3 -m compileall -q --invalidation-mode unchecked-hash $modules
      echo "backend: module://sandbox_figures" > $share/matplotlibrc
      MPLCONFIGDIR=$TMPDIR python3 ${./fonts/list.py} ${./fonts/names.json} ${fonts}/share/fonts $share/fonts
    ''
)

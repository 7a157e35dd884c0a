# A Python module by which matplotlib's `plt.show()` saves figures to where artifacts are taken from, and the settings that
# make matplotlib use it.
#
# Settings in a file of the environment, since MPLBACKEND would stay set where the program runs on the host's Python, which
# can't import the module. A program may still choose another backend, by that variable or by itself; those that only write
# files show figures all the same (figures/sandbox_figures_hook.py).
{ python313, runCommand }:
python313.pkgs.toPythonModule (
  runCommand "sandbox-figures" { nativeBuildInputs = [ python313 ]; } ''
    modules=$out/${python313.sitePackages}
    mkdir -p $modules $out/share/sandbox-mcp
    cp ${./figures/sandbox_figures.py} $modules/sandbox_figures.py
    cp ${./figures/sandbox_figures_hook.py} $modules/sandbox_figures_hook.py
    cp ${./figures/sandbox_figures.pth} $modules/sandbox_figures.pth
    python3 -m compileall -q --invalidation-mode unchecked-hash $modules
    echo "backend: module://sandbox_figures" > $out/share/sandbox-mcp/matplotlibrc
  ''
)

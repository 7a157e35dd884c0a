# Python with the modules of the sandbox `python`. It can be started ahead of its call, and what its matplotlib shows becomes
# artifacts.
#
#   passthru.modules   those modules, as a function of a set of Python's packages
#   passthru.figures   the module for matplotlib, whose settings an environment must link too
#   passthru.fonts     the fonts that it draws in, likewise
{
  callPackage,
  python313,
  modules ? python: [
    python.matplotlib
    python.numpy
    python.pandas
    python.polars
    python.pyarrow
    python.pydantic
    python.pympler
    python.scikit-learn
    python.scipy
    python.seaborn
    python.sympy
    python.beautifulsoup4
    # What pandas needs to write Markdown, HTML and LaTeX.
    python.jinja2
    python.tabulate
    python.lxml
    python.networkx
    python.openpyxl
    python.pillow
    python.pyyaml
    python.requests
  ],
}:
let
  figures = callPackage ./figures.nix { };
  fonts = callPackage ./fonts.nix { };
  ahead = (callPackage ./ahead.nix { }).python;
  environment = python313.withPackages (
    python:
    modules python
    ++ [
      ahead
      figures
    ]
  );
in
environment
// {
  inherit figures fonts modules;
  passthru = environment.passthru or { } // {
    inherit figures fonts modules;
  };
}

# Python with the libraries that agents reach for first.
pkgs:
let
  environment = pkgs.callPackage ./pkgs/python-environment.nix { };
in
{
  name = "Python";
  description = "Run Python code.";
  contents = "Available packages: beautifulsoup4, jinja2, lxml, matplotlib, networkx, numpy, openpyxl, pandas, pillow, polars, pyarrow, pydantic, pympler, pyyaml, requests, scikit-learn, scipy, seaborn, sympy, tabulate. `plt.show()` returns the figure.";
  entrypoint = "main.py";
  command = [
    "python"
    "main.py"
  ];
  ahead.SANDBOX_MCP_AHEAD = "1";
  timeout = 60;
  security.network = "none";
  # Importing pandas and scikit-learn takes 256 MB; 128 left nothing for data.
  resources.cpu = 1;
  resources.memory = 1024;
  resources.processes = 128;
  resources.files = 1024;
  mount.workdir = "/sandbox";
  packages = [
    environment
    # For its settings of matplotlib.
    environment.figures
    environment.fonts
    # joblib, and with it scikit-learn, counts cores by lscpu.
    pkgs.util-linux
  ];
  packageSets = [
    "commands"
    "python"
  ];
  # The figures that a program shows become artifacts.
  variables.MATPLOTLIBRC = "{environment}/share/sandbox-mcp/matplotlibrc";
  variables.MPLCONFIGDIR = "/tmp";
  variables.PYTHONDONTWRITEBYTECODE = "1";
  variables.PYTHONUNBUFFERED = "1";
  # One core: a thread pool as wide as the host would fill the memory limit with stacks and buffers.
  variables.OMP_NUM_THREADS = "1";
  variables.OPENBLAS_NUM_THREADS = "1";
}

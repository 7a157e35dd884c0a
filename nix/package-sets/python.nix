# Python modules, for the Python of the sandbox `python`.
#
# What PYTHONPATH names stands in front of the environment's own modules. So a package comes without those, and is empty if it
# is one of them.
pkgs:
let
  inherit (pkgs) lib;
  python = pkgs.python313;
  inherit (python.pkgs) requiredPythonModules;
  environment = pkgs.callPackage ../pkgs/python-environment.nix { };
  there = [ python ] ++ requiredPythonModules (environment.modules python.pkgs);
in
{
  description = "Python modules";
  from = python.pkgs;
  names = [
    "matplotlib"
    "numpy"
    "pandas"
    "polars"
    "pyarrow"
    "pydantic"
    "pympler"
    "scikit-learn"
    "scipy"
    "seaborn"
    "sympy"

    "beautifulsoup4"
    "lxml"
    "networkx"
    "openpyxl"
    "pillow"
    "pyyaml"
    "requests"

    "altair"
    "bokeh"
    "dask"
    "duckdb"
    "geopandas"
    "lightgbm"
    "numba"
    "numexpr"
    "plotly"
    "scikit-image"
    "shapely"
    "statsmodels"
    "xarray"
    "xgboost"

    "cvxpy"
    "mpmath"
    "ortools"
    "pulp"
    "qiskit"
    "simpy"
    "uncertainties"
    "z3-solver"

    "biopython"
    "ephem"
    "rdkit"

    "html5lib"
    "lark"
    "markdown"
    "nltk"
    "pygments"
    "pyparsing"
    "pypdf"
    "python-docx"
    "python-pptx"
    "rapidfuzz"
    "regex"
    "reportlab"
    "xlsxwriter"

    "jsonschema"
    "msgpack"
    "orjson"
    "protobuf"
    "ruamel-yaml"
    "toml"
    "xmltodict"

    "attrs"
    "cachetools"
    "click"
    "cryptography"
    "faker"
    "flask"
    "hypothesis"
    "jinja2"
    "joblib"
    "loguru"
    "more-itertools"
    "pendulum"
    "psutil"
    "pytest"

    "python-dateutil"
    "rich"
    "sortedcontainers"
    "sqlalchemy"
    "tabulate"
    "toolz"
    "tqdm"
    "typer"

    "aiohttp"
    "fastapi"
    "httpx"

    "black"
    "mypy"
    "pylint"

    "chess"
    "graphviz"
    "pyfiglet"
    "qrcode"
  ];
  renamed.opencv = "opencv4";
  paths = module: lib.subtractLists there (requiredPythonModules [ module ]);
  searchPaths = {
    # Programs that come with modules, such as pytest.
    PATH = "bin";
    PYTHONPATH = python.sitePackages;
  };
  # What nixpkgs imports of a module to see that it works. Many have no such list.
  provided =
    module:
    map (name: lib.head (lib.splitString "." name)) (
      module.pythonImportsCheck or [ (lib.replaceStrings [ "-" ] [ "_" ] module.pname) ]
    );
  # Other names under which they are imported.
  provides = {
    attrs = [ "attr" ];
    beautifulsoup4 = [ "bs4" ];
    biopython = [ "Bio" ];
    matplotlib = [
      "mpl_toolkits"
      "pylab"
    ];
    opencv = [ "cv2" ];
    pillow = [ "PIL" ];
    protobuf = [ "google" ];
    python-dateutil = [ "dateutil" ];
    python-docx = [ "docx" ];
    python-pptx = [ "pptx" ];
    pyyaml = [ "yaml" ];
    ruamel-yaml = [ "ruamel" ];
    scikit-image = [ "skimage" ];
    scikit-learn = [ "sklearn" ];
    z3-solver = [ "z3" ];
  };
}

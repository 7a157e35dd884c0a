# Python's wrapper: Python finds its environment by argv[0], through links too, and does not read users' own modules.
pkgs:
let
  environment = pkgs.python313.withPackages (_: [ ]);
in
pkgs.runCommand "python" { inherit environment; } ''
  set -x
  prefix='import sys; print(sys.prefix)'
  mkdir -p linked
  ln -s $environment/bin/python linked/python

  [ "$($environment/bin/python -c "$prefix")" = $environment ]
  [ "$(linked/python -c "$prefix")" = $environment ]
  [ "$(PATH=$PWD/linked:$PATH; python -c "$prefix")" = $environment ]
  [ "$(PATH=$PWD/linked:$PATH; exec -a python $environment/bin/python -c "$prefix")" = $environment ]
  # Under the name of another program, Python does not find the environment.
  [ "$(exec -a /nowhere/python $environment/bin/python -c "$prefix" || true)" != $environment ]

  [ "$($environment/bin/python -c 'import os; print(os.environ["PYTHONNOUSERSITE"])')" = true ]
  touch $out
''

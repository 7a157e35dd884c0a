# Python's wrapper: a Python with modules is found by argv[0], through links too, and users' own modules are shut out.
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
  # Whoever names another program is not led to the environment.
  [ "$(exec -a /nowhere/python $environment/bin/python -c "$prefix" || true)" != $environment ]

  [ "$($environment/bin/python -c 'import os; print(os.environ["PYTHONNOUSERSITE"])')" = true ]
  touch $out
''

# buildEnv: what it takes of packages, what is there of files with one name, and which directories it makes.
pkgs:
let
  # A file of each name, which says whose it is.
  package =
    name: priority: files:
    pkgs.runCommand name
      {
        inherit files;
        meta = if priority == null then { } else { inherit priority; };
      }
      ''
        for file in $files; do install -D <(echo ${name}) $out/$file; done
      '';
  first = package "first" null "bin/same bin/own";
  second = package "second" null "bin/same nix-support/hook share/other";
  low = package "low" 10 "bin/same";
  file = pkgs.runCommand "file" { } "touch $out";
  parts =
    pkgs.runCommand "parts"
      {
        outputs = [
          "out"
          "bin"
          "extra"
        ];
      }
      ''
        for output in $outputs; do install -D <(echo) ''${!output}/bin/of-$output; done
      '';

  join =
    paths: arguments:
    pkgs.buildEnv (
      {
        name = "joined";
        inherit paths;
      }
      // arguments
    );
  fails = paths: pkgs.testers.testBuildFailure (join paths { });
in
pkgs.runCommand "build-env"
  {
    ordered = join [ first second ] { ignoreCollisions = true; };
    byPriority = join [ low second ] { };
    usual = join [ parts ] { };
    asked = join [ parts.extra ] { };
    directories = join [ first ] {
      pathsToLink = [
        "/bin"
        "/lib/empty"
      ];
    };
    colliding = fails [
      first
      second
    ];
    single = fails [ file ];
    inherit first second;
  }
  ''
    set -x
    grep -qx first $ordered/bin/same
    [ -L $ordered/bin/own ]
    [ ! -e $ordered/nix-support ]
    grep -qx second $byPriority/bin/same

    [ "$(ls $usual/bin)" = of-bin ]
    [ "$(ls $asked/bin)" = of-extra ]

    [ "$(ls $directories)" = "$(printf 'bin\nlib')" ]
    [ -d $directories/lib/empty ]
    [ -z "$(ls $directories/lib/empty)" ]

    grep -q 'conflicting subpath' $colliding/testBuildFailure.log
    grep -qF $first/bin/same $colliding/testBuildFailure.log
    grep -qF $second/bin/same $colliding/testBuildFailure.log
    grep -q "is a file and can't be merged" $single/testBuildFailure.log
    touch $out
  ''

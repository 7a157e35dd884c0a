# Go beside a build cache that holds its whole standard library compiled.
#
# Nixpkgs' Go ships the standard library as source, so that the first `go run` of a call would compile what it imports, for
# seconds. The cache answers only a go command of the same version and settings: CGO_ENABLED is that of ../go.nix, and
# the check `go-build-cache` finds out whether something is compiled anew. It can be read-only: go uses what it finds there
# and does without storing more.
#
# Where a module is missing, go advises to download it, which can't succeed: what can be done is said instead.
{
  bash,
  go,
  runCommand,
}:
runCommand "go-with-build-cache"
  {
    nativeBuildInputs = [ go ];
    meta.mainProgram = "go";
  }
  ''
    export HOME=$TMPDIR GOCACHE=$out/share/sandbox-mcp/go-build CGO_ENABLED=0
    mkdir -p $GOCACHE
    go build std

    # An entry of the cache ends in the time at which it was made, in 20 columns; for go any time will do.
    find $GOCACHE -name '*-a' -exec sed -i -E 's/[0-9]{19}$/1000000000000000000/' {} +
    # Once a day go removes what was not used for days, and fails if it can't write down when: that file is made in a call's /tmp.
    ln -sf /tmp/go-build-trim.txt $GOCACHE/trim.txt

    mkdir $out/bin
    ln -s ${go}/bin/* $out/bin/
    rm $out/bin/go
    cat > $out/bin/go <<'END'
    #!${bash}/bin/bash
    ${go}/bin/go "$@" || {
      status=$?
      # A path of another module begins with a host name.
      if grep -qsE '^[^/]*"[a-z0-9-]+(\.[a-z0-9-]+)+/' *.go; then
        echo 'There is no network here: a package must be in the standard library or among the files, such as below vendor/.' >&2
      fi
      exit $status
    }
    END
    chmod +x $out/bin/go
  ''

# own-store.sh PATH... -- COMMAND...: runs a command as an ordinary user with a store at /nix that is its own. The paths are in it,
# but no database knows of them yet.
binds=(--dev-bind / / --tmpfs /nix --dir /nix/store --dir /nix/var/nix)
while [ "$1" != -- ]; do
  binds+=(--ro-bind "$1" "$1")
  shift
done
shift
export HOME=$TMPDIR NIX_CONFIG="
  experimental-features = nix-command
  sandbox = true
  sandbox-fallback = false
  require-sigs = false
  substituters =
  sandbox-paths =
  ${NIX_CONFIG:-}
"
printf '%s\0' "${binds[@]}" > "$TMPDIR/binds"
exec bwrap --args 9 --uid 1000 --gid 100 "$@" 9< "$TMPDIR/binds"

# own-store.sh LIST COMMAND...: runs a command as an ordinary user with a store at /nix that is its own. The paths that stand in the
# file LIST, one a line, are in it, but no database knows of them yet.
#
# Derivations and what they are made from are files by the ten thousand: those are copied, since bubblewrap takes the longer for a
# bind the more there are.
own=$(mktemp -d)
mkdir -p "$own/store" "$own/var/nix"
binds=(--dev-bind / / --bind "$own" /nix)
while read -r path; do
  if [ -d "$path" ] && [ ! -L "$path" ]; then
    binds+=(--ro-bind "$path" "$path")
  else
    printf '%s\0' "$path"
  fi
done < "$1" > "$own/files"
xargs --null --no-run-if-empty cp --no-dereference --preserve=mode,timestamps --target-directory "$own/store" < "$own/files"
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
printf '%s\0' "${binds[@]}" > "$own/binds"
exec bwrap --args 9 --uid 1000 --gid 100 "$@" 9< "$own/binds"

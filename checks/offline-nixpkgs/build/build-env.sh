# Links the files of $paths under $out: a directory of one package as one link, a directory of several as a directory.

# link SOURCE TARGET: makes TARGET show what SOURCE holds, beside what it shows already.
link() {
  local source=$1 target=$2 held entry
  if [ ! -e "$target" ] && [ ! -L "$target" ]; then
    ln -s "$source" "$target"
  elif [ -d "$source" ] && [ -d "$target" ]; then
    if [ -L "$target" ]; then
      held=$(readlink "$target")
      [ "$held" != "$source" ] || return 0
      rm "$target"
      mkdir "$target"
      link_entries "$held" "$target"
    fi
    link_entries "$source" "$target"
  elif [ -z "$ignoreCollisions" ] && ! cmp -s "$source" "$target"; then
    echo "two paths want to be $target: $(readlink "$target") and $source" >&2
    exit 1
  fi
}

link_entries() {
  local entry
  for entry in "$1"/* "$1"/.[!.]*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then link "$entry" "$2/${entry##*/}"; fi
  done
}

for part in $pathsToLink; do
  part=${part%/}
  mkdir -p "$out$part"
  for path in $paths; do
    [ -d "$path$part" ] || continue
    link_entries "$path$part" "$out$part"
  done
done

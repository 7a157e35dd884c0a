# Links the files of paths under $out, by the rules of nixpkgs' buildEnv. $chosen is the priority and the path of each, in turn.
shopt -s dotglob nullglob

# What is at a place, such as ./bin/sh: a path and its priority. A directory that is made here has no path.
declare -A found priority

for part in $pathsToLink; do
  place=.
  found[$place]= priority[$place]=0
  for name in ${part//\// }; do
    place+=/$name
    found[$place]= priority[$place]=0
  done
done

# Whether a place is one of the parts or below it.
is_linked() {
  local part
  for part in $pathsToLink; do
    part=.${part%/}
    [[ $1 != "$part" && $1 != "$part"/* ]] || return 0
  done
  return 1
}

is_passed_over() {
  case $1 in
    ./nix-support | ./propagated-build-inputs | */info/dir | */perllocal.pod | */log) return 0 ;;
    ./share/mime/packages*) ;;
    ./share/mime/*) return 0 ;;
  esac
  [ -z "${found[$1]+is above a part}" ] && ! is_linked "$1"
}

refuse() {
  echo "pkgs.buildEnv error: $1" >&2
  exit 1
}

# place PLACE PATH PRIORITY
place() {
  ! is_passed_over "$1" || return 0
  local at=$1 path=$2 rank=$3
  if [ -z "${found[$at]+x}" ]; then
    found[$at]=$path priority[$at]=$rank
    return
  fi
  local held=${found[$at]} held_rank=${priority[$at]}
  if [ -n "$held" ] && [ ! -d "$held" ]; then
    if [ "$rank" -lt "$held_rank" ]; then
      found[$at]=$path priority[$at]=$rank
      return
    fi
    [ "$rank" = "$held_rank" ] || return 0
  fi
  [ -z "$held" ] || [ ! "$held" -ef "$path" ] || return 0
  if [ -d "$path" ] && { [ -z "$held" ] || [ -d "$held" ]; }; then
    found[$at]=
    [ -z "$held" ] || place_entries "$at" "$held" "$held_rank"
    place_entries "$at" "$path" "$rank"
  elif [ -z "$held" ]; then
    refuse "not a directory: \`$path'"
  elif [ -z "$ignoreCollisions" ]; then
    [ "$(stat -Lc %a "$held")" = "$(stat -Lc %a "$path")" ] && cmp -s "$held" "$path" ||
      refuse "two given paths contain a conflicting subpath: \`$path' and \`$held'"
  fi
}

place_entries() {
  local entry
  for entry in "$2"/*; do place "$1/${entry##*/}" "$entry" "$3"; done
}

set -- $chosen
while [ $# != 0 ]; do
  [ ! -f "$2" ] || refuse "The store path $2 is a file and can't be merged into an environment using pkgs.buildEnv!"
  [ ! -e "$2" ] || place . "$2" "$1"
  shift 2
done

declare -A links
for at in "${!found[@]}"; do
  is_linked "$at" || continue
  if [ -z "${found[$at]}" ]; then
    mkdir -p "$out/$at"
  else
    links[${at%/*}]+=${found[$at]}$'\n'
  fi
done
for directory in "${!links[@]}"; do
  mapfile -t targets <<< "${links[$directory]%$'\n'}"
  ln -s -t "$out/$directory" "${targets[@]}"
done

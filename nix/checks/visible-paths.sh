# Prints the store paths that can be seen, as `nix-store --register-validity` reads them: path, deriver, references.
#
# A reference is the hash of another path in a file, which is how Nix finds them too. The attribute exportReferencesGraph would
# tell the same, but it wants to have the outputs of every .drv file that a closure holds.
cd /nix/store
hashes=$(mktemp)
ls | cut -c -32 > "$hashes"
{
  grep --recursive --text --only-matching --with-filename --fixed-strings --file "$hashes" .
  find . -type l -printf '%p:%l\n' | sed 's,:.*/nix/store/,:,'
} | awk -F : '
  BEGIN { while ("ls /nix/store" | getline path) { path_of[substr(path, 1, 32)] = path } }
  { split($1, part, "/"); reference = path_of[substr($NF, 1, 32)]; if (reference) references[part[2], reference] = 1 }
  END {
    for (pair in references) { split(pair, name, SUBSEP); list[name[1]] = list[name[1]] "/nix/store/" name[2] "\n"; count[name[1]]++ }
    for (hash in path_of) { path = path_of[hash]; printf "/nix/store/%s\n\n%d\n%s", path, count[path], list[path] }
  }'

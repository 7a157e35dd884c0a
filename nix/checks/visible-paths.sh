# Prints the store paths that can be seen, as `nix-store --register-validity` reads them: path, deriver, references.
cd /nix/store

# Prints lines of ./<name>[/<file>]:<hash>. As with Nix, a reference is the hash of another path in a file.
references() {
  ls | cut -c -32 > "$TMPDIR/hashes"
  grep --recursive --text --only-matching --with-filename --fixed-strings --file "$TMPDIR/hashes" .
  find . -type l -printf '%p:%l\n' | sed -n 's,:/nix/store/,:,p'
}

references | awk -F : '
  BEGIN { while ("ls" | getline name) path[substr(name, 1, 32)] = "/nix/store/" name }
  {
    split($1, part, "/")
    from = "/nix/store/" part[2]
    hash = substr($NF, 1, 32)
    if (hash in path && !seen[from, hash]++) {
      count[from]++
      references[from] = references[from] path[hash] "\n"
    }
  }
  END { for (hash in path) printf "%s\n\n%d\n%s", path[hash], count[path[hash]], references[path[hash]] }'

# Prints the store paths that can be seen, as `nix-store --register-validity` reads them: path, deriver, references.
#
# The attribute exportReferencesGraph would tell the same, but it wants to have the outputs of every .drv file in a closure.
cd /nix/store

# Each of these prints lines of ./<name>[/<file>]:<hash>. As with Nix, a reference is the hash of another path in a file...
references_of_outputs() {
  ls | cut -c -32 > "$TMPDIR/hashes"
  grep --recursive --text --only-matching --with-filename --fixed-strings --file "$TMPDIR/hashes" --exclude '*.drv' .
  find . -type l -printf '%p:%l\n' | sed -n 's,:/nix/store/,:,p'
}

# ... but those of a derivation are its inputs: what stands between its list of outputs and its system.
references_of_derivations() {
  find . -maxdepth 1 -name '*.drv' -exec awk '
    BEGIN { RS = "]" }
    FNR == 1 { next }
    /^,"/ { nextfile }
    {
      while (match($0, "/nix/store/")) {
        print FILENAME ":" substr($0, RSTART + 11, 32)
        $0 = substr($0, RSTART + 43)
      }
    }' {} +
}

{ references_of_outputs; references_of_derivations; } | awk -F : '
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

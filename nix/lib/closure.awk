# awk -f closure.awk STORE PATH...: prints the names of these store paths and of all that they refer to, without what
# derivations make. STORE is the directory that holds them.
BEGIN {
  while (("ls " ARGV[1] | getline name) > 0) there[name]
  for (i = 2; i < ARGC; i++) add(ARGV[i])
  while (done < count) {
    name = names[++done]
    print name
    references(ARGV[1] "/" name, name ~ /[.]drv$/)
  }
}

function add(path) {
  sub("^/nix/store/", "", path)
  if (path in seen) return
  if (!(path in there)) {
    print path " is not in " ARGV[1] > "/dev/stderr"
    exit 1
  }
  seen[path]
  names[++count] = path
}

# Of a derivation, its inputs: they stand between its outputs and its system. Of other files, which are sources, what they name
# that is there. Sources that are directories refer to nothing.
function references(file, derivation,   record, number, path) {
  RS = "]"
  while ((getline record < file) > 0) {
    number++
    if (derivation && number == 1) continue
    if (derivation && record ~ /^,"/) break
    while (match(record, "/nix/store/[0-9a-z]+-[0-9A-Za-z+._?=-]+")) {
      path = substr(record, RSTART, RLENGTH)
      record = substr(record, RSTART + RLENGTH)
      if (derivation || substr(path, 12) in there) add(path)
    }
  }
  close(file)
}

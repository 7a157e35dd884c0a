# Compiles the crates into $target by $cargo, in every combination of those that have a dependency in common.
set -eu

# compile DEPENDENCY...: as a program does that asks for these, each a line of its Cargo.toml.
compile() {
  printf '%s\n' '[package]' 'name = "sample"' 'version = "0.0.0"' 'edition = "2021"' '[dependencies]' "$@" > Cargo.toml
  rm -f Cargo.lock
  $cargo build --quiet --offline --target-dir "$target"
}

mkdir -p sample/src
cd sample
echo 'fn main() {}' > src/main.rs

for serde in '' 'serde = "1"' 'serde = { version = "1", features = ["derive"] }'; do
  for chrono in '' 'chrono = "0.4"' 'chrono = { version = "0.4", features = ["serde"] }'; do
    for json in '' 'serde_json = "1"'; do
      for regex in '' 'regex = "1"'; do
        compile "$serde" "$chrono" "$json" "$regex"
      done
    done
  done
done
for itertools in '' 'itertools = "0.13"' 'itertools = "0.14"' 'itertools = "0.15"'; do
  for rayon in '' 'rayon = "1"'; do
    compile "$itertools" "$rayon" 'anyhow = "1"'
  done
done
for rand in 0.8 0.9 0.10; do
  compile "rand = \"$rand\""
done

# Nothing of the sample itself, nor what cargo writes anew each time.
rm -rf "$target"/.rustc_info.json "$target"/debug/examples "$target"/debug/.cargo-*
find "$target" -depth -name 'sample*' -exec rm -rf {} +

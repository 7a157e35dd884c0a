#!@bash@/bin/bash
# Cargo with the environment's crates. What is compiled already appears in the program's own target directory, as links.
if [ -e Cargo.toml ] && [ ! -e target ]; then
  cp -rs --no-preserve=mode @share@/target target
fi
@cargo@/bin/cargo --config @share@/config.toml "$@"
status=$?

# 101 is also how a panic ends. Only where cargo finds no crates to match, there is something to add to what it said.
if [ $status = 101 ] && [ -e Cargo.toml ] &&
  ! @cargo@/bin/cargo --config @share@/config.toml metadata --offline --format-version 1 > /dev/null 2>&1; then
  echo "There is no network here. These crates can be used: @available@" >&2
fi
exit $status

# Cargo that has the crates of rust/Cargo.toml, as sources and compiled, so that `cargo run` needs no network and compiles
# nothing but the program.
#
# Cargo takes a compiled crate for the same features, versions of what it depends on, profile and compiler only. So the
# crates are compiled in every combination in which they share a dependency: see rust/compile.sh. What a program wants
# otherwise is compiled in its call, from the sources.
{
  bash,
  cargo,
  lib,
  runCommandCC,
  rustPlatform,
  rustc,
}:
let
  dependencies = (lib.importTOML ./rust/Cargo.lock).package;
  wanted = lib.attrNames (
    lib.mapAttrs' (
      key: value: lib.nameValuePair (value.package or key) null
    ) (lib.importTOML ./rust/Cargo.toml).dependencies
  );
  available = lib.concatMapStringsSep ", " (package: "${package.name} ${package.version}") (
    lib.filter (package: lib.elem package.name wanted) dependencies
  );
in
runCommandCC "cargo-with-crates"
  {
    nativeBuildInputs = [
      cargo
      rustc
    ];
    sources = rustPlatform.importCargoLock { lockFile = ./rust/Cargo.lock; };
    meta.mainProgram = "cargo";
  }
  ''
    share=$out/share/sandbox-mcp/cargo
    mkdir -p $share/crates $out/bin
    # Copied, for a closure of few paths. Cargo checks no file that it is not told of.
    for crate in $sources/*-[0-9]*; do cp -rL --no-preserve=mode $crate $share/crates/; done
    cat > $share/config.toml <<END
    [source.crates-io]
    replace-with = "crates"
    [source.crates]
    directory = "$share/crates"
    [profile.dev]
    debug = false
    incremental = false
    END

    export HOME=$TMPDIR
    cargo="cargo --config $share/config.toml" target=$share/target bash ${./rust/compile.sh}

    sed "s|@bash@|${bash}|; s|@cargo@|${cargo}|; s|@share@|$share|; s|@available@|${available}|" \
      ${./rust/cargo.sh} > $out/bin/cargo
    chmod +x $out/bin/cargo
  ''

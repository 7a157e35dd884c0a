# The phases of buildRustPackage, in the environment that nixpkgs' hooks give to cargo.

# Crates are found by a file above the sources, which cargo reads too. They are copied, since paths of them end up in panic
# messages and so in the closure.
cargoSetup() {
  cp -Lr $cargoDeps cargo-vendor-dir
  chmod -R u+w cargo-vendor-dir
  mkdir -p .cargo
  cat >> .cargo/config.toml <<END
[source.crates-io]
replace-with = "vendored-sources"
[source.vendored-sources]
directory = "$PWD/cargo-vendor-dir"
[target."@target@"]
linker = "@cc@/cc"
rustflags = [ "-Cforce-frame-pointers=yes" ]
END
}
postUnpackHooks+=(cargoSetup)

cargoCheckLock() {
  diff Cargo.lock $cargoDeps/Cargo.lock || { echo 'Cargo.lock is not that of the crates'; exit 1; }
}
postPatchHooks+=(cargoCheckLock)

# cargoWith COMMAND FLAG...: runs it for the target.
cargoWith() {
  local upper=@target@
  upper=${upper^^} upper=${upper//-/_}
  local profile=()
  [ $cargoBuildType = debug ] || profile=(--profile $cargoBuildType)
  env CC_$upper=@cc@/cc CXX_$upper=@cc@/c++ HOST_CC=@cc@/cc HOST_CXX=@cc@/c++ \
    CARGO_TARGET_${upper}_LINKER=@cc@/cc CARGO_BUILD_TARGET=@target@ \
    cargo "$1" -j $NIX_BUILD_CORES --target @target@ --offline "${profile[@]}" "${@:2}"
}

cargoBuild() {
  runHook preBuild
  export CARGO_PROFILE_${cargoBuildType^^}_STRIP=false
  cargoWith build ${cargoBuildFlags:-}
  runHook postBuild
}
buildPhase=${buildPhase:-cargoBuild}

cargoCheck() {
  runHook preCheck
  export RUST_TEST_THREADS=$NIX_BUILD_CORES
  cargoWith test ${cargoTestFlags:-} -- ${checkFlags:-}
  runHook postCheck
}
checkPhase=${checkPhase:-cargoCheck}

cargoInstall() {
  runHook preInstall
  mkdir -p $out/bin
  find target/@target@/$cargoBuildType -maxdepth 1 -type f -executable -not -name '*.so' -exec cp -t $out/bin {} +
  runHook postInstall
}
installPhase=${installPhase:-cargoInstall}

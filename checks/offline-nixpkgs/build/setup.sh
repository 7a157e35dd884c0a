# Builds a derivation of stdenv.mkDerivation: nixpkgs' phases, as far as they are used.
set -eu -o pipefail
shopt -s inherit_errexit nullglob

export HOME=/homeless-shelter SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-315532800} TZ=UTC
export SSL_CERT_FILE=/no-cert-file.crt NIX_SSL_CERT_FILE=/no-cert-file.crt

# Of programs with one name, that of the first input is there. With strictDeps, buildInputs have none that run here.
PATH=
for input in ${nativeBuildInputs:-} $([ -n "${strictDeps:-}" ] || echo "${buildInputs:-}"); do
  [ ! -d $input/bin ] || PATH+=${PATH:+:}$input/bin
done
for directory in $initialPath; do PATH+=${PATH:+:}$directory; done
export PATH

# The compiler finds headers and libraries of inputs alone, in this order: nothing is installed anywhere else, and those of its
# own C library come last.
for input in ${buildInputs:-}; do
  [ ! -d $input/include ] || export CPATH=${CPATH:+$CPATH:}$input/include
  libraries=($input/lib/lib*)
  [ ${#libraries[@]} = 0 ] || export LIBRARY_PATH=${LIBRARY_PATH:+$LIBRARY_PATH:}$input/lib
done

for input in ${nativeBuildInputs:-}; do
  [ ! -e $input/nix-support/setup-hook ] || . $input/nix-support/setup-hook
done

# Runs what inputs have to do there, and then what the derivation has.
runHook() {
  local -n hooks=$1Hooks
  local hook
  for hook in ${hooks+"${hooks[@]}"}; do $hook; done
  eval "${!1:-}"
}

runPhase() {
  echo "Running phase: $1"
  eval "${!1:-$1}"        # the derivation's own text, or else the function below
}

unpackPhase() {
  runHook preUnpack
  [ -n "${src:-}" ] || { echo "no src to unpack"; exit 1; }
  if [ -d "$src" ]; then cp -r "$src" source; else mkdir source; tar -xf "$src" -C source --strip-components=1; fi
  chmod -R u+w source
  runHook postUnpack
}

patchPhase() {
  runHook prePatch
  for file in ${patches:-}; do patch -p1 < $file; done
  runHook postPatch
}

configurePhase() { runHook preConfigure; runHook postConfigure; }
buildPhase() { runHook preBuild; runHook postBuild; }
checkPhase() { runHook preCheck; runHook postCheck; }
installPhase() { runHook preInstall; runHook postInstall; }

# Debug information would keep what the compiler's paths name in the closure.
fixupPhase() {
  runHook preFixup
  if [ -z "${dontStrip:-}" ] && type -t strip > /dev/null; then
    for output in $outputs; do
      [ ! -e "${!output}" ] || find "${!output}" -type f -perm -100 -exec sh -c 'strip -S "$1" 2> /dev/null || true' sh {} \;
    done
  fi
  runHook postFixup
}

if [ -n "${buildCommandPath:-}" ]; then
  . "$buildCommandPath"
elif [ -n "${buildCommand:-}" ]; then
  eval "$buildCommand"
else
  cd "$NIX_BUILD_TOP"
  if [ -z "${dontUnpack:-}" ]; then
    runPhase unpackPhase
    cd "${sourceRoot:-source}"
  fi
  runPhase patchPhase
  [ -n "${dontConfigure:-}" ] || runPhase configurePhase
  [ -n "${dontBuild:-}" ] || runPhase buildPhase
  [ -z "${doCheck:-}" ] || runPhase checkPhase
  [ -n "${dontInstall:-}" ] || runPhase installPhase
  [ -n "${dontFixup:-}" ] || runPhase fixupPhase
fi

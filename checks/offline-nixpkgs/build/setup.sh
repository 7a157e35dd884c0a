# Builds a derivation of stdenv.mkDerivation: nixpkgs' phases, as far as they are used.
set -eu -o pipefail
shopt -s inherit_errexit

PATH=
for directory in $initialPath; do PATH=$PATH${PATH:+:}$directory; done
for input in ${buildInputs:-} ${nativeBuildInputs:-}; do
  [ ! -d $input/bin ] || PATH=$input/bin:$PATH
done
# The compiler finds headers and libraries of inputs alone: nothing is installed anywhere else.
for input in ${buildInputs:-}; do
  [ ! -d $input/include ] || export CPATH=${CPATH:+$CPATH:}$input/include
  [ ! -d $input/lib ] || export LIBRARY_PATH=${LIBRARY_PATH:+$LIBRARY_PATH:}$input/lib
done
export PATH HOME=/homeless-shelter

runHook() {
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
  cd "${sourceRoot:-source}"
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
  [ -n "${dontUnpack:-}" ] || runPhase unpackPhase
  runPhase patchPhase
  [ -n "${dontConfigure:-}" ] || runPhase configurePhase
  [ -n "${dontBuild:-}" ] || runPhase buildPhase
  [ -z "${doCheck:-}" ] || runPhase checkPhase
  [ -n "${dontInstall:-}" ] || runPhase installPhase
  [ -n "${dontFixup:-}" ] || runPhase fixupPhase
fi

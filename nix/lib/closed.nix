# Parts of packages, linked together, and the closure that they need: one store path that lists what a
# sandbox may see of the store for them.
#
#   closure   that closure without the path itself: a store path a line, sorted
pkgs:
{
  name,
  paths,
  # The parts, as buildEnv has them.
  pathsToLink,
}:
let
  links = pkgs.buildEnv {
    name = "${name}-links";
    # Of files with one name, that of the first path is there: priorities would go before the order, and some packages have one.
    paths = map (path: path // { meta = removeAttrs (path.meta or { }) [ "priority" ]; }) paths;
    ignoreCollisions = true;
    inherit pathsToLink;
  };
  closure = pkgs.writeClosure [ links ];
in
# The links are copied because nixpkgs rebuilds buildEnv on every machine: its result may not be substituted. This
# may, so that a machine without any tool to build with can get it.
pkgs.runCommand name { inherit links closure; } ''
  cp -r --no-dereference --no-preserve=mode $links $out
  # Nixpkgs makes each directory of pathsToLink, whether or not a path has it.
  find $out -mindepth 1 -depth -type d -empty -delete
  sed "\|^$links$|d" $closure > $out/closure
''

# Parts of a source tree: cleanSourceWith, and lib.fileset with a list of paths as its set of files.
lib:
with lib;
let
  paths =
    fileset:
    map (
      path:
      throwIfNot (pathExists path) "lib.fileset: ${toString path} is a path that does not exist." path
    ) (flatten fileset);
  below = directory: path: path == directory || hasPrefix "${directory}/" path;
in
rec {
  cleanSourceWith =
    {
      src,
      filter ? (_: _: true),
      name ? "source",
    }:
    builtins.path {
      inherit name filter;
      path = src;
    };
  cleanSourceFilter =
    path: _:
    !elem (baseNameOf path) [
      ".git"
      "result"
      "target"
    ];
  cleanSource =
    src:
    cleanSourceWith {
      inherit src;
      filter = cleanSourceFilter;
    };
  sourceByRegex =
    src: regexes:
    cleanSourceWith {
      inherit src;
      filter = path: _: any (regex: match regex (removePrefix "${toString src}/" path) != null) regexes;
    };

  fileset = {
    maybeMissing = path: optional (pathExists path) path;
    unions = flatten;
    union =
      a: b:
      flatten [
        a
        b
      ];
    difference =
      a: b:
      let
        without = map toString (paths b);
        files =
          path:
          if builtins.readFileType path == "directory" then
            concatLists (mapAttrsToList (name: _: files (path + "/${name}")) (readDir path))
          else
            [ path ];
      in
      filter (path: !any (other: below other (toString path)) without) (concatMap files (paths a));
    # The files at and below `path` that `keep` holds for.
    fileFilter =
      keep: path:
      concatLists (
        mapAttrsToList (
          name: type:
          if type == "directory" then
            fileset.fileFilter keep (path + "/${name}")
          else
            optional (keep {
              inherit name type;
              hasExt = extension: hasSuffix ".${extension}" name;
            }) (path + "/${name}")
        ) (readDir path)
      );
    # A directory stays when it holds a chosen path, or lies in one.
    toSource =
      { root, fileset }:
      let
        chosen = map toString (paths fileset);
      in
      builtins.path {
        name = "source";
        path = root;
        filter = path: _: any (other: below other path || below path other) chosen;
      };
  };
}

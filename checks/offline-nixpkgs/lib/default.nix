# The functions of nixpkgs' lib that the project may use, by nixpkgs' names and with its meanings.
let
  lib = functions // {
    # Each is found in a set of its own too, as with nixpkgs.
    attrsets = functions;
    lists = functions;
    strings = functions;
    trivial = functions;
  };
  functions = {
    inherit (builtins)
      add
      all
      any
      attrNames
      attrValues
      catAttrs
      compareVersions
      concatLists
      concatMap
      concatStringsSep
      deepSeq
      elem
      elemAt
      filter
      foldl'
      fromJSON
      fromTOML
      functionArgs
      genList
      getAttr
      groupBy
      hasAttr
      head
      intersectAttrs
      isAttrs
      isBool
      isFloat
      isInt
      isList
      isPath
      isString
      length
      listToAttrs
      map
      mapAttrs
      match
      partition
      pathExists
      readDir
      readFile
      replaceStrings
      seq
      sort
      split
      stringLength
      substring
      tail
      toJSON
      trace
      tryEval
      typeOf
      unsafeDiscardStringContext
      ;
  }
  // import ./attrsets.nix lib
  // import ./lists.nix lib
  // import ./strings.nix lib
  // import ./trivial.nix lib
  // import ./packages.nix lib
  // import ./sources.nix lib;
in
lib

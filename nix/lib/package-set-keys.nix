# The keys of a package set. The reference (nix/docs) is made from these descriptions, defaults and examples.
#
# Packages are given by name because one that is missing in some revision of nixpkgs must be left out, and `inherit (pkgs) name;`
# of a missing name is an error that can't be caught.
#
# The package set is for examples only.
pkgs:
let
  inherit (builtins) isAttrs isFunction;
  inherit (import ./schema.nix)
    listOf
    matching
    record
    scalar
    setOf
    text
    ;
in
record {
  description = {
    type = text;
    description = "What the packages are, as a heading of the list that clients read.";
    example = "Perl modules";
  };
  from = {
    type = scalar "a set" isAttrs;
    description = "Where the packages are looked up: nixpkgs, or a set in it.";
    example = pkgs.python313.pkgs;
    exampleText = "pkgs.python313.pkgs";
  };
  names = {
    type = listOf text;
    description = "Names of packages in `from`, by which calls ask for them.";
    example = [
      "numpy"
      "pandas"
    ];
  };
  renamed = {
    type = setOf "a name" "[A-Za-z0-9][A-Za-z0-9+._-]*" text;
    default = { };
    description = "More packages: the names by which calls ask for them, and the attribute path of each in `from`.";
    example = {
      make = "gnumake";
      xxd = "unixtools.xxd";
    };
  };
  paths = {
    type = scalar "a function" isFunction;
    default = package: [ package ];
    defaultText = "`package: [ package ]`";
    description = "The store paths that are linked for a package.";
    example = package: [ package ];
    exampleText = "module: pkgs.python313.pkgs.requiredPythonModules [ module ]";
  };
  provided = {
    type = scalar "a function" isFunction;
    default = package: [ ];
    defaultText = "`package: [ ]`";
    description = ''
      What programs call a package by, which may not be its name: commands or modules, as far as that is known of a package
      that is not built. Where one of them is missing, the package can be named.
    '';
    example = package: [ package.meta.mainProgram or package.pname ];
    exampleText = "package: [ package.meta.mainProgram or package.pname ]";
  };
  provides = {
    type = setOf "a name" "[A-Za-z0-9][A-Za-z0-9+._-]*" (listOf text);
    default = { };
    description = "More of that, by the names of the packages.";
    example.imagemagick = [
      "convert"
      "identify"
    ];
  };
  searchPaths = {
    type = setOf "the name of an environment variable" "[A-Za-z_][A-Za-z0-9_]*" (
      matching "a directory within a package, such as lib/node_modules" "[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"
    );
    description = ''
      The environment variables by which programs find a package, and the directory within the package that each is given.
    '';
    example.PERL5LIB = "lib/perl5";
  };
}

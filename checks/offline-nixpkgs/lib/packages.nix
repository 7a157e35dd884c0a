lib: with lib; rec {
  # One of the outputs that a package has, unless it is one itself.
  getOutput =
    output: package:
    if package.outputSpecified or false then package else package.${output} or package.out or package;
  getBin = getOutput "bin";
  getLib = getOutput "lib";
  getDev = getOutput "dev";
  # A derivation with more attributes, whose outputs have them and each other too.
  extendDerivation =
    condition: passthru: package:
    let
      shared = package // outputs // passthru;
      output =
        name:
        shared
        // {
          inherit (package.${name}) outputName;
          outputSpecified = true;
          drvPath =
            assert condition;
            package.${name}.drvPath;
          outPath =
            assert condition;
            package.${name}.outPath;
        };
      outputs = genAttrs (package.outputs or [ "out" ]) output;
    in
    shared
    // {
      drvPath =
        assert condition;
        package.drvPath;
      outPath =
        assert condition;
        package.outPath;
    };
  getExe =
    package:
    getExe' package (
      package.meta.mainProgram or (throw "${package.name} declares no meta.mainProgram")
    );
  getExe' = package: program: "${getBin package}/bin/${program}";
  getName = package: package.pname or package.name;
  getVersion = package: package.version;
  makeBinPath = packages: concatMapStringsSep ":" (package: "${getBin package}/bin") packages;
  makeLibraryPath = packages: concatMapStringsSep ":" (package: "${getLib package}/lib") packages;
  callPackageWith =
    set: function: arguments:
    let
      f = if isFunction function then function else import function;
    in
    makeOverridable f (intersectAttrs (functionArgs f) set // arguments);
  # What a function makes of its arguments, with `override` to have it made of others.
  makeOverridable =
    f: arguments:
    let
      result = f arguments;
      again =
        change: makeOverridable f (arguments // (if isFunction change then change arguments else change));
      after = change: makeOverridable (arguments: change (f arguments)) arguments;
    in
    if isAttrs result then
      result
      // {
        override = again;
      }
      // optionalAttrs (result ? overrideAttrs) {
        overrideAttrs = change: after (package: package.overrideAttrs change);
      }
    else
      result;
  licenses = {
    asl20 = {
      spdxId = "Apache-2.0";
      shortName = "asl20";
      free = true;
    };
    mit = {
      spdxId = "MIT";
      shortName = "mit";
      free = true;
    };
  };
  platforms.linux = [
    "x86_64-linux"
    "aarch64-linux"
  ];
  systems.flakeExposed = platforms.linux;
  fakeHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
}

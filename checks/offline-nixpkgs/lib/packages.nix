lib: with lib; rec {
  getBin = package: package.bin or package.out or package;
  getLib = package: package.lib or package.out or package;
  getDev = package: package.dev or package.out or package;
  getOutput = output: package: package.${output} or package.out or package;
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
    f (intersectAttrs (functionArgs f) set // arguments);
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

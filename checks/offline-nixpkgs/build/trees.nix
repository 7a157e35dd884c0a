# Trees of symbolic links, and closures.
{ pkgs, lib }:
let
  # Nix tells a builder the closure of store paths in the structured attribute exportReferencesGraph alone.
  fromClosure =
    name: paths: script:
    derivation {
      inherit name;
      inherit (pkgs.stdenv.hostPlatform) system;
      __structuredAttrs = true;
      exportReferencesGraph.closure = paths;
      preferLocalBuild = true;
      builder = "${pkgs.bash}/bin/bash";
      args = [
        "-euc"
        ''
          . .attrs.sh
          out=''${outputs[out]}
          PATH=${
            lib.makeBinPath [
              pkgs.coreutils
              pkgs.jq
            ]
          }
          ${script}
        ''
      ];
    };
in
rec {
  buildEnv =
    {
      name,
      paths,
      pathsToLink ? [ "/" ],
      extraOutputsToInstall ? [ ],
      ignoreCollisions ? false,
      postBuild ? "",
      nativeBuildInputs ? [ ],
      meta ? { },
      passthru ? { },
    }:
    let
      outputsOf =
        path:
        (
          if path.outputSpecified or false || !path ? meta.outputsToInstall then
            [ path ]
          else
            map (output: path.${output}) path.meta.outputsToInstall
        )
        ++ lib.concatMap (output: lib.optional (path ? ${output}) path.${output}) extraOutputsToInstall;
    in
    pkgs.runCommandLocal name
      {
        chosen = lib.concatMap (
          path: map (output: "${toString path.meta.priority or 5} ${output}") (outputsOf path)
        ) paths;
        inherit
          pathsToLink
          ignoreCollisions
          nativeBuildInputs
          meta
          passthru
          ;
      }
      ''
        . ${./build-env.sh}
        ${postBuild}
      '';

  linkFarm =
    name: entries:
    pkgs.runCommandLocal name { } ''
      mkdir -p $out
      ${lib.concatMapStrings
        ({ name, path }: ''
          mkdir -p "$(dirname $out/${name})"
          ln -s ${path} $out/${name}
        '')
        (
          if lib.isList entries then
            entries
          else
            lib.mapAttrsToList (name: path: { inherit name path; }) entries
        )
      }
    '';

  writeClosure =
    paths:
    fromClosure "runtime-deps" paths ''
      jq -r '[.closure[].path] | sort | .[]' .attrs.json > $out
    '';

  closureInfo =
    { rootPaths }:
    fromClosure "closure-info" rootPaths ''
      mkdir $out
      jq -r '.closure[].path' .attrs.json > $out/store-paths
      jq '[.closure[].narSize] | add' .attrs.json > $out/total-nar-size
      jq -r '.closure[] | .path, .narHash, .narSize, "", (.references | length), .references[]' .attrs.json > $out/registration
    '';
}

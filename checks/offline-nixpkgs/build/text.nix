# Files written at evaluation.
{ pkgs, lib }:
rec {
  writeTextFile =
    {
      name,
      text,
      executable ? false,
      destination ? "",
      checkPhase ? "",
      meta ? { },
      ...
    }:
    pkgs.runCommandLocal name
      {
        inherit
          text
          executable
          destination
          meta
          ;
        passAsFile = [ "text" ];
      }
      ''
        file=$out$destination
        mkdir -p "$(dirname "$file")"
        cp "$textPath" "$file"
        [ -z "$executable" ] || chmod +x "$file"
        ${checkPhase}
      '';
  writeText = name: text: writeTextFile { inherit name text; };
  writeScript =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
    };
  writeScriptBin =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
      destination = "/bin/${name}";
      meta.mainProgram = name;
    };
  writeShellScript = name: text: writeScript name "#!${lib.getExe pkgs.bash}\n${text}";
  writeShellScriptBin = name: text: writeScriptBin name "#!${lib.getExe pkgs.bash}\n${text}";
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
      ...
    }:
    writeShellScriptBin name ''
      set -o errexit -o nounset -o pipefail
      export PATH="${lib.makeBinPath runtimeInputs}:$PATH"
      ${text}
    '';
}

# testers.testBuildFailure: succeeds when the derivation fails, and leaves its log and exit status.
{ pkgs }:
{
  testers.testBuildFailure =
    package:
    package.overrideAttrs (attrs: {
      args = [
        "-c"
        ''
          PATH=${pkgs.coreutils}/bin
          mkdir $out
          log=$out/testBuildFailure.log
          (out=$out/result exec ${pkgs.bash}/bin/bash ${./setup.sh}) > $log 2>&1 && { cat $log; echo 'built, but was to fail'; exit 1; }
          echo $? > $out/testBuildFailure.exit
        ''
      ];
    });
}

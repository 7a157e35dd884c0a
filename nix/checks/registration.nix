# Store paths with what they refer to, and what builders have anyway, as `nix-store --register-validity` reads them.
#
# Made where nothing else can be seen but what builds it: the server has its environments' names as text, which is no reference.
{ pkgs }:
paths:
pkgs.runCommand "registration"
  {
    inherit paths;
    # It is to be seen where these paths are.
    register = ./register.sh;
  }
  ''
    bash ${./visible-paths.sh} > $out
  ''

# refusals/store-path.nix: variables.SHELL: must be a string without a store path ({environment} stands for the environment's), but is "{bash}/bin/bash"
pkgs: import ./good.nix { variables.SHELL = "${pkgs.bash}/bin/bash"; } pkgs

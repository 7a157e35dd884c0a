# refusals/Upper_Case.nix: the file name must be lower-case letters, digits and dashes: it is the tool's name
import ./good.nix { }

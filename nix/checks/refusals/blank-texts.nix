# refusals/blank-texts.nix: before[0].name: must be a string that is not blank, but is " "
# refusals/blank-texts.nix: command[0]: must be a string that is not blank, but is "\t"
# refusals/blank-texts.nix: description: must be a string that is not blank, but is "\n\n"
# refusals/blank-texts.nix: name: must be a string that is not blank, but is ""
# refusals/blank-texts.nix: parameters.files[0].description: must be a string that is not blank, but is " \r\n"
# refusals/blank-texts.nix: programs.sentence: must be a string that is not blank, but is "   "
import ./good.nix {
  before = [
    {
      name = " ";
      command = [ "true" ];
    }
  ];
  command = [ "	" ];
  description = "\n\n";
  name = "";
  parameters.files = [
    {
      name = "go.mod";
      description = " \r\n";
    }
  ];
  programs.sentence = "   ";
}

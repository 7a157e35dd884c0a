# The options of the modules for NixOS and home-manager in Markdown, a section for each; or null without nixpkgs' module system.
lib: module:
let
  evaluated = lib.evalModules {
    modules = [
      (import module { })
      # Of options that the module sets, nothing is known here.
      { _module.check = false; }
      { _module.args.pkgs = { }; }
    ];
  };
  code = import ./code.nix lib;
  # The text that an option shows for a value, or else the value printed.
  text = value: lib.trim (value.text or (lib.generators.toPretty { } value));
  section = option: ''
    ### `${option.name}`

    ${lib.trim (lib.replaceStrings [ "{option}" ] [ "" ] option.description)}

    Type: ${option.type}

    ${lib.optionalString (option ? default) "Default:${code (text option.default)}"}
    ${lib.optionalString (option ? example) "Example:${code (text option.example)}"}
  '';
in
if lib ? evalModules then
  lib.concatMapStrings section (
    lib.filter (option: option.visible && !option.internal) (
      lib.optionAttrSetToDocList evaluated.options.programs.sandbox-mcp
    )
  )
else
  null

# The reference, as files in Markdown: the chapters in pages/, what the keys of definitions and package sets mean, which tools this
# server has, and the options of the modules for NixOS and home-manager.
{ pkgs, definitions }:
let
  inherit (pkgs) lib;
  keys = import ./keys.nix lib;
  options = import ./options.nix lib;

  pages = {
    "definition.md" = ''
      # Keys of a definition

      A definition describes one sandbox, which is one MCP tool. It is a set of these keys, a function from the package set to such
      a set, or a file that holds either. In the repository, the file `nix/<name>.nix` defines the tool `<name>`. A name with `[]`
      in it is a key of each item of that list.

      ```nix
      ${lib.trim (lib.readFile ./example.nix)}
      ```

      A wrong value or an unknown key is refused at evaluation, with the name of the file and of the key.

      ${keys (import ../lib/definition-keys.nix pkgs)}'';

    "package-set.md" = ''
      # Keys of a package set

      A package set lists packages that calls may ask for by name. In the repository, the file `nix/package-sets/<name>.nix` is the
      package set `<name>`; the sandboxes that offer it name it in their key `packageSets`.

      ${keys (import ../lib/package-set-keys.nix pkgs)}'';

    "tools.md" = ''
      # Tools

      ${lib.concatStringsSep "\n" (lib.mapAttrsToList (_: import ./tool.nix lib) definitions)}'';

    "nixos.md" = page ''
      # NixOS

      Options of `nixosModules.default`.
    '' (options ../modules/nixos.nix);

    "home-manager.md" = page ''
      # home-manager

      Options of `homeModules.default`.
    '' (options ../modules/home.nix);
  };
  page = introduction: sections: if sections == null then null else "${introduction}\n${sections}";

  files = lib.mapAttrs pkgs.writeText (lib.filterAttrs (_: page: page != null) pages);
in
# The reference of the command line is not here: the server prints it, and its package has it as man pages.
pkgs.runCommand "sandbox-mcp-docs" { meta.description = "Reference of sandbox-mcp"; } ''
  docs=$out/share/doc/sandbox-mcp
  mkdir -p $docs
  cp ${./pages}/* $docs
  ${lib.concatMapStrings (name: "cp ${files.${name}} $docs/${name}\n") (lib.attrNames files)}
''

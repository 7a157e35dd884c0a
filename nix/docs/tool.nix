# A tool in Markdown: what its definition says of it.
lib: definition:
let
  inherit (definition) resources security;
  disk = resources.memory / 2;
  network =
    if lib.isList security.network then
      if security.network == [ ] then
        "none"
      else
        "only ${lib.concatMapStringsSep ", " (entry: "`${entry}`") security.network}"
    else
      {
        none = "none";
        bridge = "the host's";
      }
      .${security.network};
  # Some parts of a package have no name of their own.
  package = package: "${lib.getName package} ${package.version or ""}";
in
''
  ## `${definition.id}`: ${definition.name}

  ${lib.trim "${definition.description} ${definition.contents}"}

  - Command: `${lib.concatStringsSep " " definition.command}`
  - Required files: ${
    lib.concatMapStringsSep ", " (name: "`${name}`") (
      [ definition.entrypoint ]
      ++ map (file: file.name) (lib.filter (file: !file.optional) definition.parameters.files)
    )
  }
  - Network: ${network}
  - Limits: ${toString definition.timeout} s, ${toString resources.cpu} CPU, ${toString resources.memory} MB of memory, ${toString disk} MB of disk, ${toString resources.processes} processes, ${toString resources.files} open files per process
  - Packages: ${lib.concatMapStringsSep ", " (each: lib.trim (package each)) definition.packages}
  - Packages on demand: ${lib.concatMapStringsSep ", " (set: "`${set}`") definition.packageSets}
''

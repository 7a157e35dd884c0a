# The MCP tool of a definition: what a client is told.
#
# Names, descriptions and annotations follow the Docker-based server whose place this one takes, so that its clients and
# prompts go on working.
definition:
let
  inherit (builtins)
    attrNames
    concatStringsSep
    elem
    elemAt
    filter
    genList
    isList
    length
    match
    replaceStrings
    ;
  inherit (definition)
    entrypoint
    hints
    instead
    mount
    parameters
    resources
    security
    ;

  readOnly = mount.readOnly || security.readOnly;
  parameterName = replaceStrings [ "." ] [ "_" ];
  # An empty list allows nothing.
  isClosed = elem security.network [
    "none"
    [ ]
  ];
  either = value: fallback: if value == null then fallback else value;

  # "a", "a and b", "a, b and c"
  enumeration =
    items:
    let
      last = length items - 1;
      allButLast = concatStringsSep ", " (genList (elemAt items) last);
    in
    if last == 0 then elemAt items 0 else "${allButLast} and ${elemAt items last}";

  # The definition's own description and what the environment has, then its limits. What is in braces is filled in by the
  # server, which knows what the tool runs on there: see src/server/src/mcp/description.rs.
  description = concatStringsSep " " (
    [ ownDescription ]
    ++ (if contents == "" && definition.programs.names == [ ] then [ ] else [ "{contents}" ])
    ++ [ limits ]
    ++ (if files == "" then [ ] else [ files ])
    ++ [ artifacts ]
  );
  # A host's own program may run none of those files.
  contents = concatStringsSep " " (
    (if definition.contents == "" then [ ] else [ definition.contents ])
    ++ (
      if instead == { } then
        [ ]
      else
        [
          "Or give ${
            concatStringsSep " or " (map (name: "`${name}`") (attrNames instead))
          } in `files` instead of `${parameterName entrypoint}`."
        ]
    )
  );
  ownDescription =
    if match ".*[.]" definition.description == null then
      "${definition.description}."
    else
      definition.description;
  limits =
    let
      cores = "${toString resources.cpu} CPU ${if resources.cpu == 1 then "core" else "cores"}";
      network =
        if isClosed then
          "no network access"
        else if isList security.network then
          "network access only to ${enumeration (map (entry: "`${entry}`") security.network)}"
        else
          "network access (${security.network})";
      access = if readOnly then "read-only" else "read-write";
    in
    "{environment}: ${cores}, ${toString resources.memory} MB RAM, ${toString resources.processes} processes, {timeout} seconds, ${network}, ${access} files.";
  files =
    let
      needed = filter (file: !file.optional) parameters.files;
      required = "Requires ${enumeration (map (file: "`${file.name}`") needed)}";
    in
    if needed == [ ] then "" else "${required}.";

  # The directory is that of src/plan/src/plan.rs.
  artifacts = "Files in `$OUT` (/sandbox/out) are returned: images (up to 3 MB), text (200 kB), others (1 MB).";
in
{
  name = definition.id;
  title = definition.name;
  inherit description contents;
  inherit (definition) programs;
  annotations = {
    title = definition.name;
    readOnlyHint = either hints.isReadOnly isClosed;
    destructiveHint = either hints.isDestructive false;
    idempotentHint = either hints.isIdempotent true;
    openWorldHint = either hints.isExternalInteraction (!isClosed);
  };
}

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

  # The definition's own description, then one sentence for each of its limits. What is in braces is filled in by the server,
  # which knows what the tool runs on there: see src/server/src/mcp/description.rs.
  description = concatStringsSep " " (
    [ ownDescription ]
    ++ (if contents == "" && definition.programs.names == [ ] then [ ] else [ "{contents}" ])
    ++ limits
    ++ (if files == "" then [ ] else [ files ])
    ++ [ artifacts ]
    ++ [ "The execution is limited to {timeout} seconds." ]
  );
  # A host's own program may run none of those files.
  contents = concatStringsSep " " (
    (if definition.contents == "" then [ ] else [ definition.contents ])
    ++ (
      if instead == { } then
        [ ]
      else
        [
          "`${parameterName entrypoint}` may be empty if `files` has ${
            concatStringsSep " or " (map (name: "`${name}`") (attrNames instead))
          }, which is executed instead."
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
          "network access only to ${enumeration (map (entry: "`${entry}`") security.network)},"
        else
          "${security.network} network access";
      access = if readOnly then "read-only" else "read-write";
    in
    [
      "This sandbox uses {environment}, with ${cores}, ${toString resources.memory} MB RAM, and ${toString resources.processes} processes."
      "It has ${network} and ${access} filesystem permissions."
    ];
  files =
    let
      file = elemAt parameters.files 0;
      requires =
        if length parameters.files == 1 then
          "It requires a `${file.name}` file (${file.description})"
        else
          "It requires the following files: ${
            enumeration (map (file: "`${file.name}` (${file.description})") parameters.files)
          }";
      uploads = "supports uploading additional files.";
    in
    if parameters.files == [ ] then
      (if parameters.additionalFiles then "It ${uploads}" else "")
    else
      (if parameters.additionalFiles then "${requires} and ${uploads}" else "${requires}.");

  # The directory is that of src/plan/src/plan.rs.
  artifacts = "Files left in `/sandbox/out` (`$OUT`) are returned with the output: images as images (3 MB each at most), text as text (200 kB), others as embedded resources (1 MB).";
in
{
  name = definition.id;
  title = definition.name;
  inherit description contents;
  inherit (definition) programs;
  annotations = {
    title = definition.name;
    readOnlyHint = either hints.isReadOnly readOnly;
    destructiveHint = either hints.isDestructive false;
    idempotentHint = either hints.isIdempotent true;
    openWorldHint = either hints.isExternalInteraction (!isClosed);
  };
}

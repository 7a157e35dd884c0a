# The definition of a sandbox, checked and completed with defaults.
#
# A definition file is a function from the package set to the keys of the JSON config, with `packages`, `packageSets` and
# `variables` beside them. The value that leaves this file has every key, each of its type. What is wrong with a definition is refused with the name
# of its file and the path of the key, all of it at once.
{ id, file }:
pkgs:
let
  inherit (builtins)
    baseNameOf
    concatStringsSep
    hasContext
    isAttrs
    isBool
    isInt
    isString
    match
    ;
  inherit (import ./schema.nix)
    default
    listOf
    listOr
    matching
    notEmpty
    oneOf
    record
    scalar
    setOf
    stringOr
    ;

  text = scalar "a string that is not empty" (value: isString value && value != "");
  boolean = scalar "true or false" isBool;
  hint = scalar "true, false or null" (value: isBool value || value == null);
  positive = scalar "a whole number above zero" (value: isInt value && value > 0);
  # Its dots become underscores in the name of the parameter that takes the file.
  fileName = matching "a file name of letters, digits, underscores and dots" "[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z0-9_]+)*";
  package = scalar "a package" (value: isAttrs value && value.type or null == "derivation");
  # A store path would make the server depend on what it names.
  variable = scalar "a string without a store path ({environment} stands for the environment's)" (
    value: isString value && !hasContext value
  );

  variables = setOf "the name of an environment variable" "[A-Za-z_][A-Za-z0-9_]*" variable;

  # The form only: src/network/policy.rs says what else is wrong with one, such as an address that is not public.
  destination =
    let
      label = "[a-z0-9]([a-z0-9-]*[a-z0-9])?";
      name = "([*][.])?(${label}[.])+[a-z]([a-z0-9-]*[a-z0-9])?";
      address = "([0-9]{1,3}[.]){3}[0-9]{1,3}";
    in
    matching "a host and port such as api.example.org:443 or *.example.org:443" "(${name}|${address}):[1-9][0-9]{0,4}";

  # What runs beside the command, from before its start; ready when its port accepts connections, its file is there, or else when
  # its command has returned with success. The last lines of its logs are shown if it does not start, and after the command's end
  # those with one of the words in `errors`.
  service = record {
    name = text;
    command = notEmpty (listOf text);
    ready = record {
      port = default null (
        scalar "a port from 1 to 65535, or null" (
          value: value == null || (isInt value && value > 0 && value < 65536)
        )
      );
      file = default null (scalar "an absolute path, or null" (value: value == null || isPath value));
    };
    deadline = default 30 positive;
    logs = default [ ] (listOf (scalar "an absolute path" isPath));
    errors = default [ ] (listOf text);
  };
  isPath = value: isString value && match "/.*" value != null;

  # What Docker offers and the sandbox does not may be stated, but has one value only: programs run as an ordinary user,
  # without capabilities and without a way to new privileges.
  schema = record {
    id = default id (oneOf [ id ]);
    name = text;
    # What holds wherever the tool runs.
    description = text;
    # What the pinned environment has besides, in sentences: clients of a server that runs the tool on a host's toolchains are
    # not told.
    contents = default "" (scalar "a string" isString);
    # Programs that the environment has for a call's own use, each perhaps with a word of explanation after its name. On a
    # host's toolchains the sentence names those that the host has.
    programs = record {
      sentence = default "Available tools: {programs}." text;
      names = default [ ] (listOf text);
    };
    version = default "0.1.0" text;
    image = default "sandbox-mcp/${id}:latest" (oneOf [ "sandbox-mcp/${id}:latest" ]);
    user = default "sandbox" (matching "a user name" "[a-z][a-z0-9-]*");
    entrypoint = fileName;
    instead = default { } (setOf "a file name" "[A-Za-z_][A-Za-z0-9_.]*" text);
    timeout = positive;
    # A list of strings is the command of one service, which must return.
    before = default [ ] (listOf (stringOr text service));
    command = notEmpty (listOf text);
    # Variables besides its own by which the command is told to wait for the end of its standard input before it looks at the
    # call's files: then it is started before there is a call. The environment's programs are to heed them.
    ahead = default { } variables;
    hints = record {
      isReadOnly = default null hint;
      isDestructive = default false hint;
      isIdempotent = default true hint;
      isExternalInteraction = default null hint;
    };
    parameters = record {
      additionalFiles = default true boolean;
      files = default [ ] (
        listOf (record {
          name = fileName;
          description = text;
        })
      );
    };
    security = record {
      readOnly = default false boolean;
      capDrop = default [ "all" ] (oneOf [ [ "all" ] ]);
      securityOpt = default [ "no-new-privileges:true" ] (oneOf [ [ "no-new-privileges:true" ] ]);
      network = listOr destination (oneOf [
        "none"
        "bridge"
      ]);
    };
    resources = record {
      cpu = positive;
      memory = positive;
      processes = positive;
      files = positive;
    };
    mount = record {
      workdir = matching "/sandbox or a directory below it" "/sandbox(/[A-Za-z0-9_-]+)*";
      tmpdirPrefix = default "sandbox-mcp-" text;
      scriptPerms = default "0755" (matching "an octal mode such as 0755" "0[0-7]{3}");
      readOnly = default false boolean;
    };
    # By what calls are carried out, where the operator does not say.
    executor = default null (oneOf [
      null
      "namespace"
      "derivation"
    ]);
    packages = listOf package;
    # The sets of packages that a call may ask for: a file package-sets/<id>.nix each.
    packageSets = default [ "commands" ] (listOf text);
    variables = default { } variables;
  };

  shortName = "${baseNameOf (dirOf file)}/${baseNameOf file}";
  definition = import file pkgs;
  problems = map (problem: "${shortName}: ${problem}") (
    if match "[a-z][a-z0-9-]*" id == null then
      [ "the file name must be lower-case letters, digits and dashes: it is the tool's name" ]
    else
      schema.problems "" definition
  );
in
{
  inherit problems;
  value =
    if problems == [ ] then schema.complete definition else throw (concatStringsSep "\n" problems);
}

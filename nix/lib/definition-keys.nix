# The keys of a definition. The reference (nix/docs) is made from these descriptions, defaults and examples.
#
# The package set is for examples only.
pkgs:
let
  inherit (builtins)
    hasContext
    isAttrs
    isBool
    isInt
    isString
    match
    ;
  inherit (import ./schema.nix)
    listOf
    listOr
    matching
    notEmpty
    oneOf
    prose
    record
    scalar
    setOf
    string
    stringOr
    text
    ;

  boolean = scalar "true or false" isBool;
  hint = scalar "true, false or null" (value: isBool value || value == null);
  positive = scalar "a whole number above zero" (value: isInt value && value > 0);
  # Its dots become underscores in the name of the parameter that takes the file.
  fileName = matching "a file name of letters, digits, underscores and dots" "[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z0-9_]+)*";
  programName = matching "the name of a program, without a directory" "[^/]+";
  package = scalar "a package" (value: isAttrs value && value.type or null == "derivation");
  isPath = value: isString value && match "/.*" value != null;
  path = scalar "an absolute path" isPath;

  # A store path would make the server depend on what it names.
  variable = scalar "a string without a store path ({environment} stands for the environment's)" (
    value: isString value && !hasContext value
  );
  variables = setOf "the name of an environment variable" "[A-Za-z_][A-Za-z0-9_]*" variable;

  # The form only. The server's build refuses what else is wrong with one, such as an address that is not public.
  destination =
    let
      label = "[a-z0-9]([a-z0-9-]*[a-z0-9])?";
      name = "([*][.])?(${label}[.])+[a-z]([a-z0-9-]*[a-z0-9])?";
      address = "([0-9]{1,3}[.]){3}[0-9]{1,3}";
    in
    matching "a host and port such as api.example.org:443 or *.example.org:443" "(${name}|${address}):[1-9][0-9]{0,4}";

  service = record {
    name = {
      type = text;
      description = "The name of the service in messages.";
      example = "files";
    };
    command = {
      type = notEmpty (listOf text);
      description = "The program and its arguments.";
      example = [
        "python3"
        "-m"
        "http.server"
        "8000"
      ];
    };
    ready = {
      description = ''
        How the server finds out that the service is ready. Without either key it is ready when its command has exited with
        status 0.
      '';
      type = record {
        port = {
          type = scalar "a port from 1 to 65535, or null" (
            value: value == null || (isInt value && value > 0 && value < 65536)
          );
          default = null;
          description = "The service is ready when this TCP port of the loopback interface accepts connections.";
          example = 8000;
        };
        file = {
          type = scalar "an absolute path, or null" (value: value == null || isPath value);
          default = null;
          description = "The service is ready when this file exists.";
          example = "/tmp/ready";
        };
      };
    };
    deadline = {
      type = positive;
      default = 30;
      description = "Seconds within which the service must be ready. After that the call fails without running its command.";
      example = 10;
    };
    logs = {
      type = listOf path;
      default = [ ];
      description = "Log files of the service. Their last lines are returned if it does not become ready.";
      example = [ "/tmp/files.log" ];
    };
    errors = {
      type = listOf text;
      default = [ ];
      description = "Words that mark an error in `logs`. Lines with one of them are returned after the command has exited.";
      example = [ "[error]" ];
    };
  };
in
record {
  name = {
    type = text;
    description = "The title of the tool, as clients show it.";
    example = "Perl";
  };
  description = {
    type = prose text;
    description = ''
      What the tool does, for the agent. Say here what is true wherever the tool runs; sentences about limits, network and
      files are added. Line ends count as spaces.
    '';
    example = "Run Perl scripts in an isolated environment.";
  };
  contents = {
    type = prose (scalar "a string" isString);
    default = "";
    description = ''
      What else the pinned environment has, in sentences; line ends count as spaces. They are left out of the tool's description where it runs on a
      host's own toolchain, which may lack it.
    '';
    example = "Available modules: JSON, Text::CSV.";
  };
  programs = {
    description = "The programs that a script can use, for the tool's description.";
    type = record {
      sentence = {
        type = text;
        default = "Available tools: {programs}.";
        description = "The sentence that names the programs. `{programs}` stands for the list.";
        example = "Apart from the usual commands there are {programs}.";
      };
      names = {
        type = listOf text;
        default = [ ];
        description = ''
          Names of programs, each optionally followed by a space and a word of explanation. Where the tool runs on a host's own
          toolchain, only those that the host has are named.
        '';
        example = [
          "jq"
          "http (HTTPie)"
        ];
      };
    };
  };
  version = {
    type = text;
    default = "0.1.0";
    description = "The version of the definition.";
    example = "1.2.0";
  };
  user = {
    type = matching "a user name" "[a-z][a-z0-9-]*";
    default = "sandbox";
    description = "The name of the user that programs run as, in the sandbox's `/etc/passwd`.";
    example = "agent";
  };
  entrypoint = {
    type = fileName;
    description = ''
      The file that `command` runs. It is a required parameter of the tool, whose name is that of the file with underscores for
      dots: `main_pl` for `main.pl`.
    '';
    example = "main.pl";
  };
  instead = {
    type = setOf "a file name" "[A-Za-z_][A-Za-z0-9_./]*" string;
    default = { };
    description = ''
      Files that may be given in place of the entrypoint, and for each the text of the entrypoint that then runs it. The
      parameter of the entrypoint may be left out in that case. With an empty text there is no entrypoint then: the command runs
      the file itself.
    '';
    example."index.ts" = "import(\"./index.ts\");\n";
  };
  timeout = {
    type = positive;
    description = "Seconds (wall clock) after which the program is killed.";
    example = 60;
  };
  before = {
    type = listOf (stringOr text service);
    default = [ ];
    description = ''
      Services that run beside the command, in the same sandbox. Each starts when the one before it is ready; all end with the
      call. A list of strings is the command of a single service, which must exit with status 0 before the command runs.
    '';
    example = [
      {
        name = "files";
        command = [
          "python3"
          "-m"
          "http.server"
          "8000"
        ];
        ready.port = 8000;
      }
    ];
  };
  command = {
    type = notEmpty (listOf text);
    description = ''
      The program that runs the entrypoint, and its arguments. Its working directory is `mount.workdir`. Arguments of a call
      follow; to a script of `sh -c` they are `"$@"`.
    '';
    example = [
      "perl"
      "main.pl"
    ];
  };
  hostPrograms = {
    type = listOr programName (oneOf [ null ]);
    default = null;
    defaultText = "the programs of `before` and `command`, apart from paths";
    description = ''
      The programs that a host without Nix must have for the tool to run on its own toolchain. A program that only some calls
      need is left out, so that the others can run without it.
    '';
    example = [
      "sh"
      "rustc"
      "cc"
    ];
  };
  ahead = {
    type = variables;
    default = { };
    description = ''
      Additional environment variables that make the command wait for the end of its standard input before it reads any file.
      With them the command is started before there is a call, which saves its startup time. The programs of the environment
      must support this. Not possible together with `before`.
    '';
    example.SANDBOX_MCP_AHEAD = "1";
  };
  hints = {
    description = "The tool's annotations, where they do not follow from the other keys.";
    type = record {
      isReadOnly = {
        type = hint;
        default = null;
        description = "MCP's `readOnlyHint`. `null` means true if `security.network` gives no access: nothing outside of the sandbox changes then.";
        example = true;
      };
      isDestructive = {
        type = hint;
        default = false;
        description = "MCP's `destructiveHint`. `null` means false.";
        example = true;
      };
      isIdempotent = {
        type = hint;
        default = true;
        description = "MCP's `idempotentHint`. `null` means true.";
        example = false;
      };
      isExternalInteraction = {
        type = hint;
        default = null;
        description = "MCP's `openWorldHint`. `null` means true if `security.network` gives any access.";
        example = true;
      };
    };
  };
  parameters = {
    description = "The tool's parameters apart from the entrypoint's.";
    type = record {
      additionalFiles = {
        type = boolean;
        default = true;
        description = "Whether the tool takes more files, in the parameter `files`.";
        example = false;
      };
      files = {
        type = listOf (record {
          name = {
            type = fileName;
            description = "The name of the file. Its parameter has underscores for dots.";
            example = "go.mod";
          };
          description = {
            type = text;
            description = "What the file is, for the agent.";
            example = "Go module file for dependencies";
          };
          optional = {
            type = boolean;
            default = false;
            description = "Whether a call may leave the file out.";
            example = true;
          };
        });
        default = [ ];
        description = "Files that have a parameter of their own each.";
        example = [
          {
            name = "go.mod";
            description = "Go module file for dependencies";
          }
        ];
      };
    };
  };
  security = {
    description = ''
      Access beyond the sandbox's own files. Every program runs as an ordinary user, without capabilities and without a way to
      new privileges; there is no key for that.
    '';
    type = record {
      readOnly = {
        type = boolean;
        default = false;
        description = "Whether the tool's description calls its files read-only.";
        example = true;
      };
      network = {
        type = listOr destination (oneOf [
          "none"
          "bridge"
        ]);
        description = ''
          `"none"`, `"bridge"` (the host's network), or a list of the hosts and ports that can be reached. `*.` stands for any
          subdomain. Private and metadata addresses stay out of reach, also behind an allowed name.
        '';
        example = [
          "api.example.org:443"
          "*.example.net:443"
        ];
      };
    };
  };
  resources = {
    description = "Limits. The result of a call names the one that was exceeded.";
    type = record {
      cpu = {
        type = positive;
        description = "CPU cores.";
        example = 1;
      };
      memory = {
        type = positive;
        description = "Megabytes (2^20 bytes) of memory, of all processes together.";
        example = 256;
      };
      processes = {
        type = positive;
        description = "Processes and threads at the same time.";
        example = 64;
      };
      files = {
        type = positive;
        description = "Open files of one process.";
        example = 256;
      };
    };
  };
  mount = {
    description = "The directory that holds the files of a call.";
    type = record {
      workdir = {
        type = matching "/sandbox or a directory below it" "/sandbox(/[A-Za-z0-9_-]+)*";
        description = "The working directory, in which the files of a call are.";
        example = "/sandbox";
      };
      scriptPerms = {
        type = matching "an octal mode such as 0755" "0[0-7]{3}";
        default = "0755";
        description = "The permissions of these files, in octal.";
        example = "0644";
      };
      readOnly = {
        type = boolean;
        default = false;
        description = "Whether the working directory is read-only. `$OUT` and `/tmp` are not.";
        example = true;
      };
    };
  };
  executor = {
    type = oneOf [
      null
      "namespace"
      "derivation"
    ];
    default = null;
    description = ''
      What runs the calls of this tool unless the operator or the call names something else: `"namespace"`, a sandbox of the
      server's own, or `"derivation"`, a build by Nix. `null` leaves it to the server.
    '';
    example = "derivation";
  };
  packages = {
    type = listOf package;
    description = ''
      What the environment consists of, apart from a shell and the core utilities. Of programs with the same name, that of the
      first package is used.
    '';
    example = [ pkgs.jq ];
    exampleText = "[ pkgs.jq ]";
  };
  packageSets = {
    type = listOf text;
    default = [ "commands" ];
    description = "The package sets from which a call may ask for packages.";
    example = [
      "commands"
      "python"
    ];
  };
  variables = {
    type = variables;
    default = { };
    description = ''
      Environment variables of the command. `{environment}` in a value stands for the store path of the environment.
    '';
    example.PERL5LIB = "{environment}/lib/perl5";
  };
}

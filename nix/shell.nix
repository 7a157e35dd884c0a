# The tools that a shell script takes for granted.
pkgs: {
  name = "Linux Shell";
  description = "Run shell scripts on Linux.";
  programs.sentence = "Available tools besides the usual commands: {programs}.";
  programs.names = [
    "bc"
    "fd"
    "file"
    "git"
    "jq"
    "less"
    "openssl"
    "patch"
    "ps"
    "rg"
    "sqlite3"
    "tree"
    "unzip"
    "xxd"
    "xz"
    "yq"
    "zip"
  ];
  entrypoint = "main.sh";
  command = [
    "sh"
    "main.sh"
  ];
  timeout = 60;
  security.network = "none";
  # jq, sort and sqlite outgrow 64 MB on files of some size; sort and xargs outgrow 96 open files.
  resources.cpu = 1;
  resources.memory = 256;
  resources.processes = 64;
  resources.files = 256;
  mount.workdir = "/sandbox";
  # Beside the base that every sandbox has: see lib/environment.nix.
  packages = [
    pkgs.bzip2
    pkgs.unzip
    pkgs.xz
    pkgs.zip
    pkgs.bc
    pkgs.fd
    pkgs.file
    pkgs.gettext
    pkgs.gitMinimal
    pkgs.gnupatch
    pkgs.jq
    pkgs.less
    pkgs.ncurses
    pkgs.openssl
    pkgs.procps
    pkgs.psmisc
    pkgs.ripgrep
    pkgs.sqlite
    pkgs.tree
    pkgs.unixtools.hostname
    pkgs.unixtools.xxd
    pkgs.util-linux
    pkgs.yq
  ];
  # So that what asks for a terminal's abilities gets an answer, which is that there are none.
  variables.TERM = "dumb";
}

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
  security.readOnly = true;
  # jq, sort and sqlite outgrow 64 MB on files of some size; sort and xargs outgrow 96 open files.
  resources.cpu = 1;
  resources.memory = 256;
  resources.processes = 64;
  resources.files = 256;
  mount.workdir = "/sandbox";
  mount.readOnly = true;
  # Beside the base that every sandbox has: see lib/environment.nix.
  packages = [
    pkgs.bzip2
    pkgs.unzip
    pkgs.xz
    pkgs.zip
    pkgs.bc
    pkgs.fd
    pkgs.file
    pkgs.gitMinimal
    pkgs.gnupatch
    pkgs.jq
    pkgs.less
    pkgs.openssl
    pkgs.procps
    pkgs.ripgrep
    pkgs.sqlite
    pkgs.tree
    pkgs.unixtools.xxd
    pkgs.yq
  ];
}

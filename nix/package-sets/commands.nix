# Command-line programs, for a call of any tool.
pkgs: {
  description = "Command-line programs";
  from = pkgs;
  names = [
    "brotli"
    "bzip2"
    "lz4"
    "p7zip"
    "unzip"
    "xz"
    "zip"
    "zstd"

    "csvkit"
    "dasel"
    "datamash"
    "dos2unix"
    "gron"
    "htmlq"
    "jo"
    "jq"
    "miller"
    "moreutils"
    "pandoc"
    "parallel"
    "ripgrep"
    "units"
    "xan"
    "xmlstarlet"
    "yq"

    "black"
    "clang-tools"
    "cloc"
    "difftastic"
    "hyperfine"
    "mypy"
    "ruff"
    "scc"
    "shellcheck"
    "shfmt"
    "tokei"
    "typescript"
    "universal-ctags"

    "binutils"
    "cmake"
    "gcc"
    "gdb"
    "just"
    "meson"
    "nasm"
    "ninja"
    "pkg-config"
    "strace"
    "valgrind"

    "deno"
    "elixir"
    "gforth"
    "ghc"
    "guile"
    "nim"
    "ocaml"
    "octave"
    "perl"
    "php"
    "R"
    "ruby"
    "sbcl"
    "zig"

    "asciidoctor"
    "exiftool"
    "figlet"
    "ghostscript"
    "gnuplot"
    "graphviz"
    "imagemagick"
    "optipng"
    "poppler-utils"
    "qpdf"
    "qrencode"
    "sox"
    "typst"

    "duckdb"
    "postgresql"
    "redis"
    "sqlite"

    "bc"
    "glpk"
    "libqalculate"
    "maxima"
    "pari"
    "z3"

    "bat"
    "fd"
    "file"
    "fzf"
    "gawk"
    "hexyl"
    "less"
    "procps"
    "psmisc"
    "pv"
    "tree"
    "util-linux"

    "age"
    "curl"
    "gettext"
    "gnupg"
    "openssh"
    "openssl"
    "rsync"
    "socat"
    "wget"
  ];
  # What is better known by another name than nixpkgs'.
  renamed = {
    ffmpeg = "ffmpeg-headless";
    git = "gitMinimal";
    lua = "lua5_4";
    make = "gnumake";
    node = "nodejs-slim";
    patch = "gnupatch";
    prolog = "swi-prolog";
    python = "python313";
    xxd = "unixtools.xxd";
  };
  searchPaths.PATH = "bin";
  provided = package: [ package.meta.mainProgram or package.pname ];
  # Of packages with many programs, those that people know by name.
  provides = {
    asciidoctor = [ "asciidoctor-pdf" ];
    bc = [ "dc" ];
    binutils = [
      "ar"
      "as"
      "ld"
      "nm"
      "objcopy"
      "objdump"
      "readelf"
      "strings"
      "strip"
    ];
    bzip2 = [ "bunzip2" ];
    clang-tools = [
      "clang-format"
      "clang-tidy"
      "clangd"
    ];
    cmake = [ "ctest" ];
    csvkit = [
      "csvcut"
      "csvgrep"
      "csvjson"
      "csvlook"
      "csvsql"
      "csvstat"
      "in2csv"
    ];
    dos2unix = [ "unix2dos" ];
    elixir = [
      "iex"
      "mix"
    ];
    ffmpeg = [ "ffprobe" ];
    gcc = [
      "c++"
      "cc"
      "cpp"
      "g++"
    ];
    gettext = [
      "envsubst"
      "msgfmt"
      "xgettext"
    ];
    ghc = [
      "ghci"
      "runghc"
    ];
    ghostscript = [
      "gs"
      "ps2pdf"
    ];
    glpk = [ "glpsol" ];
    gnupg = [ "gpg" ];
    graphviz = [
      "circo"
      "dot"
      "fdp"
      "neato"
      "twopi"
    ];
    imagemagick = [
      "compare"
      "composite"
      "convert"
      "identify"
      "magick"
      "mogrify"
      "montage"
    ];
    libqalculate = [ "qalc" ];
    lua = [ "luac" ];
    miller = [ "mlr" ];
    moreutils = [
      "chronic"
      "ifne"
      "sponge"
      "ts"
      "vipe"
    ];
    ocaml = [
      "ocamlc"
      "ocamlopt"
    ];
    octave = [ "octave-cli" ];
    openssh = [
      "scp"
      "sftp"
      "ssh-keygen"
    ];
    p7zip = [
      "7z"
      "7za"
    ];
    pari = [ "gp" ];
    poppler-utils = [
      "pdfimages"
      "pdfinfo"
      "pdfseparate"
      "pdftocairo"
      "pdftoppm"
      "pdftotext"
      "pdfunite"
    ];
    postgresql = [
      "initdb"
      "pg_ctl"
      "pg_dump"
      "postgres"
      "psql"
    ];
    procps = [
      "free"
      "pgrep"
      "pkill"
      "ps"
      "top"
      "uptime"
      "vmstat"
      "watch"
    ];
    prolog = [ "swipl" ];
    psmisc = [
      "fuser"
      "killall"
      "pstree"
    ];
    python = [
      "python"
      "python3"
    ];
    R = [
      "R"
      "Rscript"
    ];
    redis = [
      "redis-cli"
      "redis-server"
    ];
    ripgrep = [ "rg" ];
    ruby = [
      "gem"
      "irb"
    ];
    sox = [
      "play"
      "rec"
      "soxi"
    ];
    sqlite = [ "sqlite3" ];
    typescript = [ "tsc" ];
    universal-ctags = [ "ctags" ];
    unzip = [ "zipinfo" ];
    util-linux = [
      "cal"
      "col"
      "column"
      "flock"
      "getopt"
      "hexdump"
      "ionice"
      "logger"
      "look"
      "lscpu"
      "more"
      "namei"
      "rev"
      "script"
      "setsid"
      "taskset"
      "uuidgen"
      "whereis"
    ];
    xmlstarlet = [ "xml" ];
    xz = [
      "unxz"
      "xzcat"
    ];
    yq = [ "xq" ];
    zstd = [
      "unzstd"
      "zstdcat"
    ];
  };
}

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
    "pv"
    "tree"
    "util-linux"

    "age"
    "curl"
    "gnupg"
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
}

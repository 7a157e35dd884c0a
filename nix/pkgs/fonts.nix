# Fonts for text in pictures: Latin, the scripts of Asia that most people read, and emoji.
#
#   share/fonts                  the files, by their own names and by those that programs know from other systems
#   share/fonts/{open,true}type  the same files where Debian has them
#   share/sandbox-mcp/etc/fonts  what tells fontconfig of them
#
# All files are in one directory, since who looks for a name does not follow links to directories.
{
  dejavu_fonts,
  lib,
  liberation_ttf,
  noto-fonts,
  noto-fonts-cjk-sans-static,
  noto-fonts-color-emoji,
  noto-fonts-monochrome-emoji,
  runCommand,
}:
let
  names = lib.importJSON ./fonts/names.json;
  # The families of noto-fonts among those in which a glyph is looked for.
  noto = lib.subtractLists [ "Noto Sans CJK JP" ] (
    lib.filter (lib.hasPrefix "Noto Sans ") names.fallback
  );
in
runCommand "sandbox-fonts" { } ''
  fonts=$out/share/fonts
  mkdir -p $fonts $out/share/sandbox-mcp/etc/fonts
  cp ${./fonts/fonts.conf} $out/share/sandbox-mcp/etc/fonts/fonts.conf

  # take PLACE PACKAGE PATTERN...: the files of a package whose names match. Each pattern must have one.
  take() {
    local place=$1 package=$2 pattern file
    mkdir -p $fonts/$place
    shift 2
    for pattern; do
      find -L $package/share/fonts -type f -name "$pattern" > found
      [ -s found ] || { echo "$package has no font $pattern" >&2; exit 1; }
      while read -r file; do
        cp --no-preserve=mode "$file" $fonts/
        ln -s "../../''${file##*/}" $fonts/$place/
      done < found
    done
  }
  take truetype/dejavu ${dejavu_fonts} DejaVu{Sans,SansMono,Serif}{,-Bold}.ttf
  take truetype/liberation ${liberation_ttf} 'Liberation*.ttf'
  take opentype/noto ${noto-fonts-cjk-sans-static} NotoSansCJK-{Regular,Bold}.ttc
  take truetype/noto ${noto-fonts-color-emoji} NotoColorEmoji.ttf
  take truetype/noto ${noto-fonts-monochrome-emoji} 'NotoEmoji*'
  # One file has all weights, or each weight is a file.
  take truetype/noto ${noto-fonts} ${
    lib.concatMapStringsSep " " (family: "'${lib.replaceStrings [ " " ] [ "" ] family}[[-]*'") noto
  }
  find $fonts -regex '.*-\(Black\|Condensed\|Extra\|Light\|Medium\|Semi\|Thin\).*' -delete

  ${lib.concatStrings (
    lib.mapAttrsToList (
      file: aliases:
      lib.concatMapStrings (alias: ''
        ln -s ${file} $fonts/${lib.escapeShellArg alias}
      '') aliases
    ) names.files
  )}
  # One file has all weights, or the regular weight is a file.
  ${lib.concatStrings (
    lib.mapAttrsToList (family: aliases: ''
      file=$(find $fonts -maxdepth 1 -type f \( -name '${family}-Regular.ttf' -o -name '${family}[[]*' \) -printf '%f\n')
      for alias in ${lib.escapeShellArgs aliases}; do
        [ -e "$fonts/$alias" ] || ln -s "$file" "$fonts/$alias"
      done
    '') names.scripts
  )}
  mkdir -p $fonts/truetype/wqy
  ln -s ../../NotoSansCJK-Regular.ttc $fonts/truetype/wqy/wqy-zenhei.ttc
  ln -s ../../NotoSansCJK-Regular.ttc $fonts/truetype/wqy/wqy-microhei.ttc
''

# Locales of languages, besides that which a C library has by itself: one archive, which LOCALE_ARCHIVE names.
{
  glibc,
  runCommand,
  locales ? [
    "C"
    "de_DE"
    "en_GB"
    "en_US"
    "fr_FR"
  ],
}:
runCommand "sandbox-locales" { inherit locales; } ''
  export I18NPATH=${glibc.out}/share/i18n
  # It writes to where the C library looks for the archive, below a prefix.
  mkdir -p $TMPDIR{${glibc.out},/usr}/lib/locale $out/lib/locale
  for locale in $locales; do
    ${glibc.bin}/bin/localedef --prefix=$TMPDIR -i $locale -f UTF-8 $locale.UTF-8
  done
  find $TMPDIR -name locale-archive -exec cp {} $out/lib/locale/ ';'
  [ -s $out/lib/locale/locale-archive ]
''

# What meta says against a derivation, as nixpkgs refuses it where nothing is configured: its messages, in short.
{ lib, system }:
attrs:
let
  meta = attrs.meta or { };
  licenses = lib.filter lib.isAttrs (lib.toList (meta.license or [ ]));
  unfree = lib.filter (license: !(license.free or true)) licenses;
  reason =
    if unfree != [ ] then
      "has an unfree license (‘${lib.concatMapStringsSep " " (license: license.shortName) unfree}’)"
    else if meta.broken or false then
      "is marked as broken"
    else if
      !lib.elem system (lib.subtractLists (meta.badPlatforms or [ ]) (meta.platforms or [ system ]))
    then
      "is not available on the requested hostPlatform"
    else if meta.knownVulnerabilities or [ ] != [ ] then
      "is marked as insecure"
    else
      null;
in
{
  available = reason == null;
  # Evaluated with what depends on the derivation.
  handled =
    reason == null
    || throw "Package ‘${
      attrs.name or "${attrs.pname}-${attrs.version}"
    }’ ${reason}, refusing to evaluate.";
}

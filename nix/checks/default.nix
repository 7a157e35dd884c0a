# The flake's checks, each a derivation that fails with what is wrong.
{ pkgs, server }: { }

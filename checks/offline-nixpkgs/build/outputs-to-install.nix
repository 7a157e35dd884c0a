# Which of a package's outputs an environment takes, where meta.outputsToInstall does not say.
lib: outputs:
[
  (lib.findFirst (output: lib.elem output outputs) (lib.head outputs) [
    "bin"
    "out"
  ])
]
++ lib.optional (lib.elem "man" outputs) "man"

// Has Node.js wait until a pipe has taken what it writes: a program that ends at once would lose the rest otherwise. Node.js is
// told to load this by NODE_OPTIONS.
"use strict";

for (const name of ["stdout", "stderr"]) {
  const property = Object.getOwnPropertyDescriptor(process, name);
  let stream;
  const get = () => {
    if (stream === undefined) {
      stream = property.get.call(process);
      stream._handle?.setBlocking?.(true);
    }
    return stream;
  };
  Object.defineProperty(process, name, { ...property, get });
}
delete require.cache[__filename];

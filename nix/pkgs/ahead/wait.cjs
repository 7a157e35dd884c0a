// Waits for the call of a program that was started ahead of it: until standard input ends. Node.js is told to load this by
// NODE_OPTIONS, before it looks for the program's file.
"use strict";

const { closeSync, openSync, readSync } = require("node:fs");

// Processes that the program starts are not told.
process.env.NODE_OPTIONS = process.env.NODE_OPTIONS.replace(/ --require=\S+$/, "");
while (readSync(0, Buffer.alloc(4096)) > 0);
// From here on all is as it would be without: the file that is opened next gets the lowest number that is free.
closeSync(0);
openSync("/dev/null", "r");
delete require.cache[__filename];

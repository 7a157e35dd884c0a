// Runs TypeScript as compilers do, where Node.js alone leaves out types and nothing else: enums, namespaces and parameter
// properties become JavaScript, a file is found without its extension or by that of what it would be compiled to, and what is
// imported and only used as a type is not looked for. Node.js is told to load this by NODE_OPTIONS.
"use strict";

const { readFileSync, statSync, writeSync } = require("node:fs");
const { registerHooks, stripTypeScriptTypes } = require("node:module");
const { basename } = require("node:path");
const { fileURLToPath, pathToFileURL } = require("node:url");
const { compileFunction } = require("node:vm");

const TYPESCRIPT = /\.[cm]?ts$/;
const NOT_FOUND = ["ERR_MODULE_NOT_FOUND", "ERR_UNSUPPORTED_DIR_IMPORT", "MODULE_NOT_FOUND"];

registerHooks({
  resolve(specifier, context, nextResolve) {
    try {
      return nextResolve(specifier, context);
    } catch (error) {
      if (!NOT_FOUND.includes(error.code) || !/^(\.{0,2}\/|\.{1,2}$|file:)/.test(specifier)) throw error;
      const found = candidates(specifier, context.parentURL).find(isFile);
      if (found === undefined) throw error;
      return nextResolve(context.conditions.includes("require") ? found : pathToFileURL(found).href, context);
    }
  },
  load(url, context, nextLoad) {
    if (!url.startsWith("file:") || !TYPESCRIPT.test(new URL(url).pathname)) return nextLoad(url, context);
    const source = javascript(readFileSync(fileURLToPath(url), "utf8"));
    const format = formatOf(url, context.format, source);
    return { format, source: format === "module" ? withoutTypes(source) : source, shortCircuit: true };
  },
});

/** The files that an import may mean. Of JavaScript's own, only a compiler finds those without an extension. */
function candidates(specifier, parent) {
  const url = new URL(specifier, parent);
  const path = fileURLToPath(url).replace(/\/$/, "");
  const isCompiled = parent !== undefined && TYPESCRIPT.test(new URL(parent).pathname);
  const extensions = [".ts", ".mts", ".cts", ...(isCompiled ? [".js", ".mjs", ".cjs", ".json"] : [])];
  return [
    path.replace(/\.([cm]?)jsx?$/, ".$1ts"),
    ...extensions.map((extension) => path + extension),
    ...extensions.map((extension) => `${path}/index${extension}`),
  ];
}

function isFile(path) {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** Without types every line stays where it is. What needs more is told from where it came by a source map. */
function javascript(source) {
  try {
    return stripTypeScriptTypes(source);
  } catch (error) {
    if (error.code !== "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") throw error;
    process.setSourceMapsEnabled(true);
    return stripTypeScriptTypes(source, { mode: "transform", sourceMap: true });
  }
}

function formatOf(url, known, source) {
  if (url.endsWith(".mts")) return "module";
  if (url.endsWith(".cts")) return "commonjs";
  if (known) return known.replace("-typescript", "");
  try {
    compileFunction(source, ["exports", "require", "module", "__filename", "__dirname"]);
    return "commonjs";
  } catch {
    return "module";
  }
}

/** Removes from imports the names that occur nowhere else, and imports of which nothing remains. */
function withoutTypes(source) {
  const imports = /^([ \t]*import\s+)([^'"();=]+?)(\s+from\s*(['"])[^'"\n]+\4[^\n]*)/gm;
  const rest = source.replace(imports, "").replace(/^[ \t]*(\/\/.*|\/\*[^]*?\*\/)/gm, "");
  const isUsed = (name) => new RegExp(`(?<![\\w$])${name.replaceAll("$", "\\$")}(?![\\w$])`).test(rest);
  const isKept = (entry) => isUsed(entry.trim().split(/\s+as\s+/).at(-1));
  return source.replace(imports, (statement, keyword, clause, from) => {
    const [, first, braces] = /^([^{]*?),?\s*(?:\{([^]*)\})?\s*$/.exec(clause);
    const whole = first.trim() === "" || !isKept(first) ? [] : [first.trim()];
    const names = (braces ?? "").split(",").filter((entry) => entry.trim() !== "");
    const kept = names.filter(isKept);
    if (whole.length === (first.trim() === "" ? 0 : 1) && kept.length === names.length) return statement;
    const lines = "\n".repeat(statement.split("\n").length - 1);
    if (kept.length > 0) whole.push(`{${kept.join(",").replaceAll("\n", " ")}}`);
    return whole.length === 0 ? lines : keyword.replaceAll("\n", " ") + whole.join(", ") + from.replaceAll("\n", " ") + lines;
  });
}

// Types in a file of JavaScript.
process.on("uncaughtExceptionMonitor", (error) => {
  const file = process.argv[1];
  if (!(error instanceof SyntaxError) || !/\.[cm]?js$/.test(file)) return;
  try {
    const source = readFileSync(file, "utf8");
    try {
      if (stripTypeScriptTypes(source) === source) return;
    } catch (unsupported) {
      if (unsupported.code !== "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") return;
    }
    const name = basename(file);
    writeSync(2, `${name} is TypeScript: pass it as \`${name.replace(/js$/, "ts")}\` in \`files\`, and leave \`${name.replace(".", "_")}\` empty.\n`);
  } catch {
    // Not a program that can be read.
  }
});

delete require.cache[__filename];

# Nix code after a word of Markdown: in the line, or as a block where it has several lines.
lib: text: if lib.hasInfix "\n" text then "\n\n```nix\n${text}\n```\n" else " `${text}`\n"

//! Which programs a sandbox's command starts.

/// Words after which the shell expects a command, not an argument.
const BEFORE_COMMANDS: [&str; 12] =
    ["!", "{", "command", "do", "elif", "else", "exec", "if", "then", "time", "until", "while"];

/// What the shell does itself, or what only ends a construct.
const BUILT_IN: [&str; 37] = [
    ".", ":", "[", "}", "alias", "break", "case", "cd", "continue", "done", "echo", "esac", "eval", "exit", "export",
    "false", "fi", "for", "getopts", "hash", "in", "jobs", "kill", "local", "printf", "pwd", "read", "return", "set",
    "shift", "test", "trap", "true", "type", "ulimit", "umask", "unset",
];

/// The programs, each once, in the order in which they start. Paths are left out: they name the sandbox's own files.
pub(super) fn programs(command: &[&str]) -> Vec<String> {
    let mut programs = Vec::new();
    let mut add = |program: &str| {
        if !program.contains('/') && !programs.iter().any(|known| known == program) {
            programs.push(program.to_owned());
        }
    };
    let Some((program, arguments)) = command.split_first() else { return programs };
    add(program);
    for word in script(program, arguments).map(commands).unwrap_or_default() {
        add(&word);
    }
    // These compile with the help of programs that the command does not name.
    if programs.iter().any(|program| program == "cargo") {
        with(&mut programs, "rustc");
    }
    if programs.iter().any(|program| program == "rustc") {
        with(&mut programs, "cc");
    }
    programs
}

fn with(programs: &mut Vec<String>, program: &str) {
    if !programs.iter().any(|known| known == program) {
        programs.push(program.to_owned());
    }
}

/// Names of a program on hosts, the best first.
pub(super) fn names(program: &str) -> Vec<&str> {
    match program {
        // Where both exist, `python` may still be Python 2.
        "python" | "python3" => vec!["python3", "python"],
        "node" => vec!["node", "nodejs"],
        "cc" => vec!["cc", "gcc", "clang"],
        other => vec![other],
    }
}

/// Names that a sandbox finds a program by.
pub(super) fn names_served(program: &str) -> Vec<&str> {
    match program {
        "python" | "python3" => vec!["python", "python3"],
        other => vec![other],
    }
}

/// The text that a shell is given with `-c`.
fn script<'a>(program: &str, arguments: &[&'a str]) -> Option<&'a str> {
    if !["sh", "bash", "dash"].contains(&program.rsplit('/').next()?) {
        return None;
    }
    let flag = arguments.iter().position(|word| word.starts_with('-') && word.ends_with('c'))?;
    arguments.get(flag + 1).copied()
}

/// The words of a script that stand where the shell expects a command, as far as they are plain text.
fn commands(script: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut expected = true;
    let mut after_redirection = false;
    for token in tokens(script) {
        match token {
            Token::Redirection => after_redirection = true,
            Token::Separator => (expected, after_redirection) = (true, false),
            Token::Word(_) if after_redirection => after_redirection = false,
            Token::Word(word) if expected => {
                let is_assignment = word.split_once('=').is_some_and(|(name, _)| is_name(name));
                if BEFORE_COMMANDS.contains(&word.as_str()) || is_assignment {
                    continue;
                }
                expected = false;
                let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c));
                if is_plain && !BUILT_IN.contains(&word.as_str()) {
                    commands.push(word);
                }
            }
            Token::Word(_) => {}
        }
    }
    commands
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

enum Token {
    Word(String),
    /// What ends a command: `;`, `&&`, `|`, a line's end, …
    Separator,
    Redirection,
}

fn tokens(script: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in script.chars() {
        match (quote, c) {
            (Some(open), _) => {
                word.push(c);
                quote = (c != open).then_some(open);
            }
            (None, '\'' | '"' | '`') => {
                word.push(c);
                quote = Some(c);
            }
            // `2>&1` is one redirection: its `&` ends no command.
            (None, '&') if word.is_empty() && matches!(tokens.last(), Some(Token::Redirection)) => word.push(c),
            (None, ';' | '&' | '|' | '(' | ')' | '\n' | '<' | '>' | ' ' | '\t') => {
                let is_redirection = matches!(c, '<' | '>');
                let is_descriptor = is_redirection && word.chars().all(|c| c.is_ascii_digit());
                match std::mem::take(&mut word) {
                    word if word.is_empty() || is_descriptor => {}
                    word => tokens.push(Token::Word(word)),
                }
                match c {
                    ' ' | '\t' => {}
                    _ if is_redirection => tokens.push(Token::Redirection),
                    _ => tokens.push(Token::Separator),
                }
            }
            (None, _) => word.push(c),
        }
    }
    if !word.is_empty() {
        tokens.push(Token::Word(word));
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::programs;

    #[test]
    fn a_plain_command_starts_its_first_word() {
        assert_eq!(programs(&["python", "main.py"]), ["python"]);
        assert_eq!(programs(&["java", "--enable-preview", "main.java"]), ["java"]);
        assert_eq!(programs(&["./main"]), [""; 0]);
        assert_eq!(programs(&[]), [""; 0]);
    }

    #[test]
    fn a_script_starts_the_words_where_commands_stand_and_rustc_starts_the_linker() {
        assert_eq!(programs(&["sh", "-c", "rustc -o main main.rs && ./main"]), ["sh", "rustc", "cc"]);
        assert_eq!(programs(&["/bin/sh", "-ec", "cargo run"]), ["cargo", "rustc", "cc"]);
    }

    #[test]
    fn assignments_built_ins_keywords_quotes_and_redirections_are_no_programs() {
        let script = "cd x; A=1 B='2 3' node index.js | tee out 2>&1 >log; if test -f a; then exec go run .; fi\n\
                      (jq . <in || \"$X\" y) & for i in a b; do echo \"ls; rm\"; done";
        assert_eq!(programs(&["bash", "-c", script]), ["bash", "node", "tee", "go", "jq"]);
    }

    #[test]
    fn a_script_that_is_a_file_names_no_more_programs() {
        assert_eq!(programs(&["sh", "main.sh"]), ["sh"]);
    }
}

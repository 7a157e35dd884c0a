//! Derivations, as Nix writes them into `.drv` files (ATerm).

use std::collections::BTreeMap;
use std::fmt;

/// What a `.drv` file says, as far as this project needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// Output name → output path.
    pub outputs: BTreeMap<String, String>,
    /// Path of an input's `.drv` → the names of its outputs that are used.
    pub input_derivations: BTreeMap<String, Vec<String>>,
    pub input_sources: Vec<String>,
    pub system: String,
    pub builder: String,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

/// Where the text stops being a derivation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    offset: usize,
    expected: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a derivation: expected {} at byte {}", self.expected, self.offset)
    }
}

impl std::error::Error for ParseError {}

impl Derivation {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { text, offset: 0 };
        parser.take("Derive(", "`Derive(`")?;
        let outputs = parser.list(|parser| {
            let [name, path, _algorithm, _hash] = parser.tuple()?;
            Ok((name, path))
        })?;
        parser.take(",", "`,`")?;
        let input_derivations = parser.list(|parser| {
            parser.take("(", "`(`")?;
            let path = parser.string()?;
            parser.take(",", "`,`")?;
            let names = parser.list(Parser::string)?;
            parser.take(")", "`)`")?;
            Ok((path, names))
        })?;
        parser.take(",", "`,`")?;
        let input_sources = parser.list(Parser::string)?;
        parser.take(",", "`,`")?;
        let system = parser.string()?;
        parser.take(",", "`,`")?;
        let builder = parser.string()?;
        parser.take(",", "`,`")?;
        let arguments = parser.list(Parser::string)?;
        parser.take(",", "`,`")?;
        let environment = parser.list(|parser| {
            let [name, value] = parser.tuple()?;
            Ok((name, value))
        })?;
        parser.take(")", "`)`")?;
        if parser.offset != text.len() {
            return parser.refuse("the end");
        }
        Ok(Self {
            outputs: outputs.into_iter().collect(),
            input_derivations: input_derivations.into_iter().collect(),
            input_sources,
            system,
            builder,
            arguments,
            environment: environment.into_iter().collect(),
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    offset: usize,
}

impl Parser<'_> {
    fn refuse<T>(&self, expected: &'static str) -> Result<T, ParseError> {
        Err(ParseError { offset: self.offset, expected })
    }

    fn take(&mut self, token: &str, expected: &'static str) -> Result<(), ParseError> {
        if !self.text[self.offset..].starts_with(token) {
            return self.refuse(expected);
        }
        self.offset += token.len();
        Ok(())
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.take("\"", "a string")?;
        let mut value = String::new();
        let mut characters = self.text[self.offset..].char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.offset += at + 1;
                    return Ok(value);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, escaped)) => value.push(escaped),
                    None => break,
                },
                _ => value.push(character),
            }
        }
        self.offset = self.text.len();
        self.refuse("the end of a string")
    }

    fn tuple<const N: usize>(&mut self) -> Result<[String; N], ParseError> {
        self.take("(", "`(`")?;
        let mut fields = [const { String::new() }; N];
        for (index, field) in fields.iter_mut().enumerate() {
            if index > 0 {
                self.take(",", "`,`")?;
            }
            *field = self.string()?;
        }
        self.take(")", "`)`")?;
        Ok(fields)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, ParseError>) -> Result<Vec<T>, ParseError> {
        self.take("[", "`[`")?;
        let mut items = Vec::new();
        while !self.text[self.offset..].starts_with(']') {
            if !items.is_empty() {
                self.take(",", "`,` or `]`")?;
            }
            items.push(item(self)?);
        }
        self.take("]", "`]`")?;
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = concat!(
        r#"Derive([("out","/nix/store/o","","")],[("/nix/store/b.drv",["out","dev"])],["/nix/store/s"],"#,
        r#""x86_64-linux","/bin/sh",["-c","echo \"hi\"\n"],[("name","hello"),("out","/nix/store/o")])"#
    );

    #[test]
    fn a_derivation_is_read_whole() {
        let derivation = Derivation::parse(HELLO).unwrap();
        assert_eq!(derivation.outputs["out"], "/nix/store/o");
        assert_eq!(derivation.input_derivations["/nix/store/b.drv"], ["out", "dev"]);
        assert_eq!(derivation.input_sources, ["/nix/store/s"]);
        assert_eq!(derivation.system, "x86_64-linux");
        assert_eq!(derivation.arguments, ["-c", "echo \"hi\"\n"]);
        assert_eq!(derivation.environment["name"], "hello");
    }

    #[test]
    fn every_cut_short_derivation_is_refused() {
        for end in 0..HELLO.len() {
            assert!(Derivation::parse(&HELLO[..end]).is_err(), "cut at {end}");
        }
        assert!(Derivation::parse(&format!("{HELLO}\n")).unwrap_err().to_string().contains("the end"));
    }
}

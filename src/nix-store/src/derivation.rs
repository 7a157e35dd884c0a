//! Derivations, as Nix writes them into `.drv` files (ATerm).

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::store_path::StorePath;

/// The content of a `.drv` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    pub outputs: BTreeMap<String, DerivationOutput>,
    /// Path of an input's `.drv` → the names of its outputs that are used.
    pub input_derivations: BTreeMap<StorePath, BTreeSet<String>>,
    pub input_sources: BTreeSet<StorePath>,
    pub system: String,
    pub builder: String,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

/// The path of an output and, if its content is fixed in advance, the hash of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivationOutput {
    /// Empty if the path is known only after the build.
    pub path: String,
    /// The algorithm of `hash`, after `r:` if the hash is of an archive; empty if nothing is fixed.
    pub algorithm: String,
    /// In base 16; empty if nothing is fixed.
    pub hash: String,
}

impl DerivationOutput {
    /// Returns an output whose path follows from the derivation's inputs.
    pub fn input_addressed(path: String) -> Self {
        Self { path, algorithm: String::new(), hash: String::new() }
    }
}

/// The place where a text stops being a derivation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a derivation: expected {expected} at byte {offset}")]
pub struct DerivationSyntaxError {
    offset: usize,
    expected: &'static str,
}

impl Derivation {
    /// Parses the text of a `.drv` file.
    ///
    /// # Errors
    ///
    /// The text is not what Nix writes.
    pub fn parse(text: &str) -> Result<Self, DerivationSyntaxError> {
        let mut parser = AtermParser { text, offset: 0 };
        parser.take("Derive(", "`Derive(`")?;
        let outputs = parser.map(|parser| {
            let [name, path, algorithm, hash] = parser.tuple()?;
            Ok((name, DerivationOutput { path, algorithm, hash }))
        })?;
        parser.take(",", "`,`")?;
        let input_derivations = parser.map(|parser| {
            parser.take("(", "`(`")?;
            let path = parser.store_path()?;
            parser.take(",", "`,`")?;
            let names = parser.set(AtermParser::string)?;
            parser.take(")", "`)`")?;
            Ok((path, names))
        })?;
        parser.take(",", "`,`")?;
        let input_sources = parser.set(AtermParser::store_path)?;
        parser.take(",", "`,`")?;
        let system = parser.string()?;
        parser.take(",", "`,`")?;
        let builder = parser.string()?;
        parser.take(",", "`,`")?;
        let arguments = parser.list(AtermParser::string)?;
        parser.take(",", "`,`")?;
        let environment = parser.map(|parser| {
            let [name, value] = parser.tuple()?;
            Ok((name, value))
        })?;
        parser.take(")", "`)`")?;
        if parser.offset != text.len() {
            return parser.refuse("the end");
        }
        Ok(Self { outputs, input_derivations, input_sources, system, builder, arguments, environment })
    }

    /// Returns the text of the `.drv` file.
    pub fn text(&self) -> String {
        self.write(true)
    }

    /// Returns the text with blanks for the output paths, from which output paths are computed.
    pub(crate) fn text_without_outputs(&self) -> String {
        self.write(false)
    }

    fn write(&self, with_outputs: bool) -> String {
        let environment: usize = self.environment.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        let mut writer = AtermWriter(String::with_capacity(environment + environment / 16 + 4096));
        writer.0.push_str("Derive(");
        writer.list(&self.outputs, |writer, (name, DerivationOutput { path, algorithm, hash })| {
            writer.tuple([name, if with_outputs { path } else { "" }, algorithm, hash]);
        });
        writer.0.push(',');
        writer.list(&self.input_derivations, |writer, (path, names)| {
            writer.0.push('(');
            writer.string(path.as_str());
            writer.0.push(',');
            writer.list(names, |writer, name| writer.string(name));
            writer.0.push(')');
        });
        writer.0.push(',');
        writer.list(&self.input_sources, |writer, path| writer.string(path.as_str()));
        for text in [&self.system, &self.builder] {
            writer.0.push(',');
            writer.string(text);
        }
        writer.0.push(',');
        writer.list(&self.arguments, |writer, argument| writer.string(argument));
        writer.0.push(',');
        writer.list(&self.environment, |writer, (name, value)| {
            let blank = !with_outputs && self.outputs.contains_key(name);
            writer.tuple([name, if blank { "" } else { value }]);
        });
        writer.0.push(')');
        writer.0
    }
}

struct AtermWriter(String);

impl AtermWriter {
    fn string(&mut self, value: &str) {
        self.0.push('"');
        let mut rest = value;
        while let Some(at) = rest.find(['"', '\\', '\n', '\r', '\t']) {
            self.0.push_str(&rest[..at]);
            self.0.push_str(match rest.as_bytes()[at] {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                _ => "\\t",
            });
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        self.0.push('"');
    }

    fn tuple<const N: usize>(&mut self, fields: [&str; N]) {
        for (index, field) in fields.into_iter().enumerate() {
            self.0.push(if index == 0 { '(' } else { ',' });
            self.string(field);
        }
        self.0.push(')');
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.0.push('[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            write(self, item);
        }
        self.0.push(']');
    }
}

struct AtermParser<'a> {
    text: &'a str,
    offset: usize,
}

impl AtermParser<'_> {
    fn refuse<T>(&self, expected: &'static str) -> Result<T, DerivationSyntaxError> {
        Err(DerivationSyntaxError { offset: self.offset, expected })
    }

    fn take(&mut self, token: &str, expected: &'static str) -> Result<(), DerivationSyntaxError> {
        if !self.text[self.offset..].starts_with(token) {
            return self.refuse(expected);
        }
        self.offset += token.len();
        Ok(())
    }

    fn string(&mut self) -> Result<String, DerivationSyntaxError> {
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

    fn tuple<const N: usize>(&mut self) -> Result<[String; N], DerivationSyntaxError> {
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

    fn store_path(&mut self) -> Result<StorePath, DerivationSyntaxError> {
        let offset = self.offset;
        StorePath::parse(&self.string()?).map_err(|_| DerivationSyntaxError { offset, expected: "a store path" })
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DerivationSyntaxError>,
    ) -> Result<Vec<T>, DerivationSyntaxError> {
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

    /// Reads a list of unique items without an order, which Nix always writes sorted.
    fn map<K: Ord, V>(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<(K, V), DerivationSyntaxError>,
    ) -> Result<BTreeMap<K, V>, DerivationSyntaxError> {
        let offset = self.offset;
        let items = self.list(item)?;
        match items.is_sorted_by(|(before, _), (after, _)| before < after) {
            true => Ok(items.into_iter().collect()),
            false => Err(DerivationSyntaxError { offset, expected: "a sorted list" }),
        }
    }

    fn set<T: Ord>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DerivationSyntaxError>,
    ) -> Result<BTreeSet<T>, DerivationSyntaxError> {
        Ok(self.map(|parser| Ok((item(parser)?, ())))?.into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    /// A derivation in which `B` stands for the input derivation and `S` for the source.
    const HELLO: &str = concat!(
        r#"Derive([("dev","","",""),("out","/nix/store/o","","")],[("B",["dev","out"])],["S"],"#,
        r#""x86_64-linux","/bin/sh",["-c","echo \"hi\"\n"],[("name","hello"),("out","/nix/store/o")])"#
    );
    const INPUT: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-b.drv";
    const SOURCE: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-s";

    fn hello() -> String {
        HELLO.replace("\"B\"", &format!("{INPUT:?}")).replace("\"S\"", &format!("{SOURCE:?}"))
    }

    #[test]
    fn derivation_is_read_whole() {
        let derivation = Derivation::parse(&hello()).unwrap();
        assert_eq!(derivation.outputs["out"], DerivationOutput::input_addressed("/nix/store/o".into()));
        let (input, names) = derivation.input_derivations.first_key_value().unwrap();
        assert_eq!((input.as_str(), names), (INPUT, &BTreeSet::from(["dev".into(), "out".into()])));
        assert_eq!(derivation.input_sources.first().unwrap().as_str(), SOURCE);
        assert_eq!(derivation.system, "x86_64-linux");
        assert_eq!(derivation.arguments, ["-c", "echo \"hi\"\n"]);
        assert_eq!(derivation.environment["name"], "hello");
    }

    #[test]
    fn derivation_cut_at_any_byte_is_refused() {
        let hello = hello();
        for end in 0..hello.len() {
            assert!(Derivation::parse(&hello[..end]).is_err(), "cut at {end}");
        }
        assert!(Derivation::parse(&format!("{hello}\n")).unwrap_err().to_string().contains("the end"));
    }

    #[test]
    fn derivation_nix_would_not_write_is_refused_with_its_place() {
        for (from, to, expected) in [
            (SOURCE, "/etc/passwd", "expected a store path at byte"),
            ("[\"dev\",\"out\"]", "[\"out\",\"dev\"]", "expected a sorted list at byte"),
            ("[\"dev\",\"out\"]", "[\"dev\",\"dev\"]", "expected a sorted list at byte"),
            ("(\"name\",\"hello\")", "(\"name\")", "expected `,` at byte"),
        ] {
            let error = Derivation::parse(&hello().replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn derivation_is_written_as_it_was_read() {
        let derivation = Derivation::parse(&hello()).unwrap();
        assert_eq!(derivation.text(), hello());
    }

    #[test]
    fn text_without_outputs_has_blank_output_paths() {
        let blank = Derivation::parse(&Derivation::parse(&hello()).unwrap().text_without_outputs()).unwrap();
        assert_eq!((&*blank.outputs["out"].path, &*blank.environment["out"]), ("", ""));
        assert_eq!(blank.environment["name"], "hello");
    }

    /// Text in which everything that has a meaning in a `.drv` file is frequent.
    fn text() -> impl Strategy<Value = String> {
        let part =
            select(vec!["\"", "\\", "\n", "\r", "\t", "\\n", "(", ")", "[", "]", ",", "out", "\0", "/nix/store"]);
        vec(prop_oneof![part.prop_map(str::to_owned), any::<char>().prop_map(String::from)], 0..8)
            .prop_map(|parts| parts.concat())
    }

    fn store_path() -> impl Strategy<Value = StorePath> {
        "/nix/store/[0-9a-df-np-sv-z]{32}-[a-zA-Z0-9+._?=-]{1,9}".prop_map(|path| StorePath::parse(&path).unwrap())
    }

    fn any_derivation() -> impl Strategy<Value = Derivation> {
        let output =
            (text(), text(), text()).prop_map(|(path, algorithm, hash)| DerivationOutput { path, algorithm, hash });
        let inputs = btree_map(store_path(), btree_set(text(), 0..4), 0..4);
        let sources = btree_set(store_path(), 0..4);
        let environment = btree_map(text(), text(), 0..4);
        (btree_map(text(), output, 0..4), inputs, sources, text(), text(), vec(text(), 0..4), environment).prop_map(
            |(outputs, input_derivations, input_sources, system, builder, arguments, environment)| Derivation {
                outputs,
                input_derivations,
                input_sources,
                system,
                builder,
                arguments,
                environment,
            },
        )
    }

    proptest! {
        // Paths are made from a pattern, which is slow in debug builds.
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn any_derivation_is_read_as_it_was_written(derivation in any_derivation()) {
            let read = Derivation::parse(&derivation.text());
            prop_assert_eq!(read.as_ref(), Ok(&derivation));
            let blank = derivation.text_without_outputs();
            prop_assert_eq!(Derivation::parse(&blank).map(|blank| blank.text()), Ok(blank));
        }

        #[test]
        fn derivation_cut_short_is_refused(derivation in any_derivation(), place in any::<Index>()) {
            let text = derivation.text();
            let (end, _) = text.char_indices().nth(place.index(text.chars().count())).unwrap();
            prop_assert!(Derivation::parse(&text[..end]).is_err());
        }

        #[test]
        fn derivation_with_one_character_changed_does_not_panic(derivation in any_derivation(), place in any::<Index>()) {
            let mut characters: Vec<char> = derivation.text().chars().collect();
            let place = place.index(characters.len());
            characters[place] = '!';
            let _ = Derivation::parse(&String::from_iter(characters));
        }
    }
}

//! Finds the `id` of a JSON-RPC request that can't be read, or that is too long to be kept, while it streams past.

use serde_json::Value;

/// An id is short; whatever is longer is none.
const MAX_ID_BYTES: usize = 1024;

/// A scanner of one JSON object. It knows strings and nesting, and nothing else of JSON.
#[derive(Debug, Default)]
pub struct IdFinder {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The text of the member of the outermost object that is being read, quotes included, up to [`MAX_ID_BYTES`].
    text: Vec<u8>,
    key: Option<Vec<u8>>,
    /// A response has an id too, which is another's.
    has_method: bool,
    found: Option<Value>,
}

impl IdFinder {
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// The id, if the message has one at its top, and a method.
    pub fn found(self) -> Option<Value> {
        self.found.filter(|_| self.has_method)
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            self.keep(byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth > 1 {
                    self.keep(byte);
                }
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_member();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b',' if self.depth == 1 => self.end_member(),
            b':' if self.depth == 1 => self.key = Some(std::mem::take(&mut self.text)),
            b'"' => {
                self.in_string = true;
                self.keep(byte);
            }
            _ => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.text.len() <= MAX_ID_BYTES {
            self.text.push(byte);
        }
    }

    fn end_member(&mut self) {
        let text = std::mem::take(&mut self.text);
        let key = self.key.take().unwrap_or_default();
        self.has_method |= key.trim_ascii() == b"\"method\"";
        if key.trim_ascii() == b"\"id\"" && text.len() <= MAX_ID_BYTES {
            self.found = serde_json::from_slice(&text).ok().filter(|id: &Value| id.is_string() || id.is_number());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(text: &str) -> Option<Value> {
        // Byte by byte, as a stream may arrive.
        let mut finder = IdFinder::default();
        text.as_bytes().chunks(1).for_each(|piece| finder.feed(piece));
        finder.found()
    }

    #[test]
    fn id_is_found_wherever_it_stands() {
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{}}"#), Some(json!(7)));
        let text = r#"{ "method" : "m", "params" : [{"id":1}, "}", "\"id\":2"] , "id" : "a\"b" }"#;
        assert_eq!(id(text), Some(json!("a\"b")));
    }

    #[test]
    fn nested_id_is_not_taken_for_the_message_id() {
        for members in
            [r#""params":{"id":1}"#, r#""text":"\",\"id\":3,\"""#, r#""id":null"#, r#""id":{"a":1}"#, r#""id":1"#]
        {
            let text = format!(r#"{{{members},"result":{{"method":"m"}}}}"#);
            assert_eq!(id(&text), None, "{text}");
            let text = format!(r#"{{"method":"m",{members}}}"#);
            assert_eq!(id(&text), members.starts_with("\"id\":1").then(|| json!(1)), "{text}");
        }
        for text in ["[]", "x", "", r#"{"method":"m","id":1"#] {
            assert_eq!(id(text), None, "{text}");
        }
    }
}

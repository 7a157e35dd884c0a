//! Finds the `id` of a JSON-RPC message that is too long to be kept, while it streams past.

use serde_json::Value;

/// An id is short; whatever is longer is none.
const LONGEST_ID: usize = 1024;

/// A scanner of one JSON object. It knows strings and nesting, and nothing else of JSON.
#[derive(Debug, Default)]
pub struct IdFinder {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The text of the member of the outermost object that is being read, quotes included, up to [`LONGEST_ID`].
    text: Vec<u8>,
    key: Option<Vec<u8>>,
    found: Option<Value>,
}

impl IdFinder {
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// The id, if the message had one at its top.
    pub fn found(self) -> Option<Value> {
        self.found
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
        if self.depth == 1 && self.text.len() <= LONGEST_ID {
            self.text.push(byte);
        }
    }

    fn end_member(&mut self) {
        let text = std::mem::take(&mut self.text);
        let is_id = self.key.take().is_some_and(|key| key.trim_ascii() == b"\"id\"");
        if is_id && text.len() <= LONGEST_ID {
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
    fn the_id_is_found_wherever_it_stands() {
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":7,"params":{}}"#), Some(json!(7)));
        assert_eq!(id(r#"{ "params" : [{"id":1}, "}", "\"id\":2"] , "id" : "a\"b" }"#), Some(json!("a\"b")));
    }

    #[test]
    fn what_is_no_id_of_the_message_itself_is_not_taken_for_one() {
        for text in
            [r#"{"params":{"id":1}}"#, r#"{"text":"\",\"id\":3,\""}"#, r#"{"id":null}"#, r#"{"id":{"a":1}}"#, "[]", "x"]
        {
            assert_eq!(id(text), None, "{text}");
        }
    }
}

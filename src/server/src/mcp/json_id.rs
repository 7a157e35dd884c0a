//! Finds the `id` of a JSON-RPC request that cannot be parsed or is too long to be kept, while its bytes stream past. A line
//! may hold several requests by mistake; the id of each is found.

use serde_json::Value;

/// The most bytes of an id, as JSON. Anything longer is not taken for one.
const MAX_ID_BYTES: usize = 1024;
/// The number of messages on one line whose ids are found. It bounds the memory that an endless line takes, and the answers
/// that it gets.
pub const MAX_IDS: usize = 100;

/// An incremental scanner of JSON objects. It tracks only strings and nesting.
#[derive(Debug, Default)]
pub struct IdFinder {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The text of the current member of the outermost object, including quotes, up to [`MAX_ID_BYTES`].
    text: Vec<u8>,
    key: Option<Vec<u8>>,
    has_method: bool,
    /// Whether the object is a response, whose id is that of a request which the server sent.
    has_result: bool,
    id: Option<Value>,
    found: Vec<Value>,
}

impl IdFinder {
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// Returns the ids of all messages that have one at the top level and are not responses, including that of an unfinished
    /// last message; of more than [`MAX_IDS`], the first.
    pub fn found(mut self) -> Vec<Value> {
        self.end_message();
        self.found
    }

    fn end_message(&mut self) {
        let (has_method, has_result) = (std::mem::take(&mut self.has_method), std::mem::take(&mut self.has_result));
        let id = self.id.take().filter(|_| has_method || !has_result);
        if self.found.len() < MAX_IDS {
            self.found.extend(id);
        }
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
            // A batch: its messages are found as if they stood side by side.
            b'[' if self.depth == 0 => {}
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth > 1 {
                    self.keep(byte);
                }
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_member();
                    self.end_message();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b',' if self.depth == 1 => self.end_member(),
            b':' if self.depth == 1 => self.begin_value(),
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

    fn begin_value(&mut self) {
        let key = std::mem::take(&mut self.text);
        self.has_method |= key.trim_ascii() == b"\"method\"";
        self.has_result |= matches!(key.trim_ascii(), b"\"result\"" | b"\"error\"");
        self.key = Some(key);
    }

    fn end_member(&mut self) {
        let text = std::mem::take(&mut self.text);
        let key = self.key.take().unwrap_or_default();
        if key.trim_ascii() == b"\"id\"" && text.len() <= MAX_ID_BYTES {
            self.id = serde_json::from_slice(&text).ok().filter(|id: &Value| id.is_string() || id.is_number());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ids(text: &str) -> Vec<Value> {
        // Byte by byte, as a stream may arrive.
        let mut finder = IdFinder::default();
        text.as_bytes().chunks(1).for_each(|piece| finder.feed(piece));
        finder.found()
    }

    #[test]
    fn id_is_found_wherever_it_stands() {
        assert_eq!(ids(r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{}}"#), [json!(7)]);
        let text = r#"{ "method" : "m", "params" : [{"id":1}, "}", "\"id\":2"] , "id" : "a\"b" }"#;
        assert_eq!(ids(text), [json!("a\"b")]);
    }

    #[test]
    fn ids_of_several_messages_are_found_in_their_order() {
        assert_eq!(
            ids(r#"{"id":1,"method":"m"}{"id":2,"result":{}} [{"id":3}] {"id":4}"#),
            [json!(1), json!(3), json!(4)]
        );
    }

    #[test]
    fn ids_of_endless_messages_are_found_up_to_the_limit() {
        let found = ids(&(0..10 * MAX_IDS).map(|id| format!(r#"{{"id":{id}}}"#)).collect::<String>());
        assert_eq!(found, (0..MAX_IDS).map(|id| json!(id)).collect::<Vec<_>>());
    }

    #[test]
    fn id_of_a_truncated_message_is_found_if_it_is_whole() {
        for text in
            [r#"{"id":78,"method":"m""#, r#"{"id":78,"me"#, r#"{"id": 78 ,"#, r#"{"method":"m","id":78,"params":{"#]
        {
            assert_eq!(ids(text), [json!(78)], "{text}");
        }
    }

    #[test]
    fn nested_id_is_not_taken_for_the_message_id() {
        for members in
            [r#""params":{"id":1}"#, r#""text":"\",\"id\":3,\"""#, r#""id":null"#, r#""id":{"a":1}"#, r#""id":1"#]
        {
            let text = format!(r#"{{{members},"result":{{"method":"m"}}}}"#);
            assert_eq!(ids(&text), Vec::<Value>::new(), "{text}");
            let text = format!(r#"{{"method":"m",{members}}}"#);
            let expected: Vec<Value> = members.starts_with("\"id\":1").then(|| json!(1)).into_iter().collect();
            assert_eq!(ids(&text), expected, "{text}");
        }
        for text in ["[]", "x", "", r#"{"method":"m","id":1"#] {
            assert_eq!(ids(text), Vec::<Value>::new(), "{text}");
        }
    }
}

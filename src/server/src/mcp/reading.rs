//! Parses the lines of a client, and says what is wrong with those that are not valid messages.

use std::collections::VecDeque;

use rmcp::RoleServer;
use rmcp::model::{ClientRequest, ErrorData, JsonRpcMessage};
use rmcp::service::RxJsonRpcMessage;
use serde_json::{Value, json};

use crate::mcp::framing::{Line, MAX_LINE_BYTES};
use crate::mcp::json_id::IdFinder;
use crate::mcp::surrogates::replace_halves;

/// What a line holds.
#[derive(Debug)]
pub enum Reading {
    /// Nothing that is answered.
    Nothing,
    Message(Box<RxJsonRpcMessage<RoleServer>>),
    /// Messages in an array, which clients of the version 2025-03-26 may send. Each is read and answered as if it had a line
    /// of its own.
    Batch(VecDeque<Vec<u8>>),
}

/// A line that is not a valid message.
#[derive(Debug)]
pub struct Unreadable {
    /// The ids to answer with, as far as they were found.
    ids: Vec<Value>,
    pub error: ErrorData,
}

impl Unreadable {
    /// Returns an error for each request, or one without an id if none was found: JSON-RPC would make it null, but MCP leaves
    /// it out.
    pub fn answers(&self) -> Vec<Value> {
        let error = json!({"jsonrpc": "2.0", "error": self.error});
        if self.ids.is_empty() {
            return vec![error];
        }
        let with = |id: &Value| {
            let mut error = error.clone();
            error["id"] = id.clone();
            error
        };
        self.ids.iter().map(with).collect()
    }
}

/// Parses a line.
pub fn read(line: Line) -> Result<Reading, Box<Unreadable>> {
    let mut line = match line {
        Line::Whole(line) => line,
        Line::TooLong { length, ids } => {
            let error =
                format!("the request has {length} bytes, {MAX_LINE_BYTES} at most: give fewer or smaller files");
            return Err(Box::new(Unreadable { ids, error: ErrorData::invalid_request(error, None) }));
        }
    };
    if trimmed(&line).is_empty() {
        return Ok(Reading::Nothing);
    }
    match serde_json::from_slice(trimmed(&line)) {
        // rmcp also parses a request this way if it does not accept its id.
        Ok(JsonRpcMessage::Notification(_)) if has_id(trimmed(&line)) => {}
        Ok(message) => return checked(message),
        Err(_) => {}
    }
    let syntax = match serde_json::from_slice::<Value>(trimmed(&line)) {
        Ok(value) => return no_message(value),
        Err(error) => error,
    };
    match replace_halves(&mut line) {
        0 => Err(Box::new(no_json(&line, &syntax))),
        count => {
            tracing::info!("{count} unpaired surrogates in a request were replaced by U+FFFD");
            read(Line::Whole(line))
        }
    }
}

/// Refuses what rmcp would take for a request of the stateless protocol.
fn checked(message: RxJsonRpcMessage<RoleServer>) -> Result<Reading, Box<Unreadable>> {
    if let JsonRpcMessage::Request(request) = &message
        && let ClientRequest::CustomRequest(custom) = &request.request
        && custom.method == "initialize"
    {
        let error = "cannot read `initialize`: its `params` have `protocolVersion`, which is a string like \"2025-11-25\", \
                     `capabilities`, which are an object, and `clientInfo`, which has a `name` and a `version`";
        let ids = vec![serde_json::to_value(&request.id).unwrap_or_default()];
        return Err(Box::new(Unreadable { ids, error: ErrorData::invalid_params(error, None) }));
    }
    Ok(Reading::Message(Box::new(message)))
}

fn has_id(message: &[u8]) -> bool {
    serde_json::from_slice::<Value>(message).is_ok_and(|message| message.get("id").is_some())
}

/// Returns the line without a byte order mark and white space around it.
fn trimmed(line: &[u8]) -> &[u8] {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    line.strip_prefix(BOM).unwrap_or(line).trim_ascii()
}

/// Returns the messages of an array, or the error for JSON that is not a message.
fn no_message(value: Value) -> Result<Reading, Box<Unreadable>> {
    if let Value::Array(messages) = &value
        && !messages.is_empty()
        && messages.iter().all(Value::is_object)
    {
        return Ok(Reading::Batch(messages.iter().map(|message| message.to_string().into_bytes()).collect()));
    }
    let is_method = value["method"].is_string();
    if is_method && value.get("id").is_none() {
        // A notification gets no answer.
        return Ok(Reading::Nothing);
    }
    let error = if value.is_array() {
        "cannot read an array: it is empty or contains something that is not a message; send each message on its own line"
    } else {
        "cannot read a message: it is not JSON-RPC 2.0; a request has `jsonrpc`, which is \"2.0\", an `id`, which is a string \
         or an integer from -2^63 to 2^63-1, and a `method`"
    };
    // The id of a response is that of a request of the server; the client may have used the same id for another request.
    let is_response = !is_method && ["result", "error"].iter().any(|field| value.get(field).is_some());
    let id = value.get("id").filter(|id| !is_response && (id.is_string() || id.is_number()));
    Err(Box::new(Unreadable { ids: id.into_iter().cloned().collect(), error: ErrorData::invalid_request(error, None) }))
}

/// Returns the error for a line that is not JSON.
fn no_json(line: &[u8], error: &serde_json::Error) -> Unreadable {
    let mut finder = IdFinder::default();
    finder.feed(line);
    let error = format!(
        "cannot read a message: {error}; send JSON in UTF-8, with finite numbers, with control characters escaped, and less \
         than 128 levels deep"
    );
    Unreadable { ids: finder.found(), error: ErrorData::parse_error(error, None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns the code and the id of each error that answers a line.
    fn answers(line: &[u8]) -> Vec<(i64, Option<Value>)> {
        let answers = read(Line::Whole(line.to_vec())).map_or_else(|unreadable| unreadable.answers(), |_| Vec::new());
        let parts = |answer: &Value| (answer["error"]["code"].as_i64().expect("a code"), answer.get("id").cloned());
        answers.iter().map(parts).collect()
    }

    /// Returns the only error that answers a line, if there is one.
    fn refused(line: &[u8]) -> Option<(i64, Option<Value>)> {
        let answers = answers(line);
        assert!(answers.len() < 2, "{answers:?}");
        answers.into_iter().next()
    }

    fn request(params: &str) -> Vec<u8> {
        format!(r#"{{"method":"tools/call","params":{params},"jsonrpc":"2.0","id":7}}"#).into_bytes()
    }

    #[test]
    fn request_that_is_no_json_is_refused_by_its_id() {
        let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        for params in ["NaN", "[-Infinity]", "1e400", &deep, "\"\u{1}\"", "\"a\tb\"", "[1,]", "{'a':1}", "", "\"\\x\""]
        {
            assert_eq!(refused(&request(params)), Some((-32700, Some(json!(7)))), "{params}");
        }
        let with_byte =
            |byte: u8| request("\"?\"").iter().map(|b| if *b == b'?' { byte } else { *b }).collect::<Vec<u8>>();
        for byte in [0x80, 0xc3, 0xed, 0xff, 0] {
            assert_eq!(refused(&with_byte(byte)), Some((-32700, Some(json!(7)))), "{byte}");
        }
    }

    #[test]
    fn half_a_character_anywhere_in_a_request_is_replaced() {
        for params in [r#"{"name":"\ud83d"}"#, r#"{"\ude00":[{"a":"\ud83dx"}]}"#] {
            let reading = read(Line::Whole(request(params))).expect("it can be read");
            let Reading::Message(message) = reading else { panic!("{reading:?} is no message") };
            let text = serde_json::to_string(&*message).unwrap();
            assert!(text.contains('\u{fffd}'), "{text}");
        }
        // Other faults are still refused.
        assert_eq!(refused(&request(r#"["\ud83d",]"#)), Some((-32700, Some(json!(7)))));
    }

    #[test]
    fn json_that_is_no_message_is_refused_by_the_id_of_a_request() {
        for (line, id) in [
            (r#"{"jsonrpc":"1.0","id":77,"method":"ping"}"#, Some(json!(77))),
            (r#"{"id":"a","method":"ping"}"#, Some(json!("a"))),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Some(json!(1.5))),
            (r#"{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}"#, Some(json!(1_u64 << 63))),
            (r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}"#, Some(json!(u64::MAX))),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","id":1,"error":7}"#, None),
            (r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"shell"}}"#, None),
            (r#"{"id":78}"#, Some(json!(78))),
            ("{}", None),
            ("42", None),
            ("[]", None),
            ("[7]", None),
            ("[[]]", None),
        ] {
            assert_eq!(refused(line.as_bytes()), Some((-32600, id)), "{line}");
        }
    }

    #[test]
    fn blank_lines_and_notifications_are_not_answered() {
        for line in ["", " \r", r#"{"method":"notifications/x","params":7}"#, r#"{"jsonrpc":"2.0","method":"x"}"#] {
            assert_eq!(refused(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn lines_whose_id_cannot_be_told_are_answered_without_one() {
        let long = format!(r#"{{"id":"{}","method":"ping","params":NaN}}"#, "x".repeat(2000));
        let noise = ["hello", "{", "{bad", r#"{"method":"notifications/x","params":NaN}"#, r#"{"id":1,"result":NaN}"#];
        for line in
            noise.map(str::as_bytes).into_iter().chain([&b"{\"id\":\"\xff\",\"method\":\"x\"}"[..], long.as_bytes()])
        {
            assert_eq!(refused(line), Some((-32700, None)), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn truncated_and_joined_requests_are_answered_by_their_ids() {
        let truncated = r#"{"jsonrpc":"2.0","id":78,"method":"ping""#;
        assert_eq!(answers(truncated.as_bytes()), [(-32700, Some(json!(78)))]);
        assert_eq!(answers(br#"{"jsonrpc":"2.0","method":"ping","id":7"#), [(-32700, None)], "it may go on: 78");
        let joined = r#"{"id":1,"method":"ping"} {"id":"2","method":"ping"}"#;
        assert_eq!(answers(joined.as_bytes()), [(-32700, Some(json!(1))), (-32700, Some(json!("2")))]);
    }

    #[test]
    fn byte_order_mark_and_a_carriage_return_are_passed_over() {
        let line = [b"\xef\xbb\xbf", &request("{}")[..], b"\r"].concat();
        assert!(matches!(read(Line::Whole(line)), Ok(Reading::Message(_))));
    }

    #[test]
    fn initialize_that_cannot_be_read_is_refused_with_its_params() {
        for params in ["{}", r#"{"protocolVersion":null}"#, r#"{"protocolVersion":7,"capabilities":{}}"#] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":5,"method":"initialize","params":{params}}}"#);
            assert_eq!(refused(line.as_bytes()), Some((-32602, Some(json!(5)))), "{params}");
        }
    }
}

//! MCP's messages over a pair of streams. Every request is answered, also one that can't be read.
//!
//! rmcp's own transport drops a line that is no JSON without a word, and a client waits for ever. Clients do write such
//! lines: with half a character where they have cut a text, with NaN, or with control characters as they are.

use std::io;
use std::pin::Pin;

use rmcp::RoleServer;
use rmcp::model::{ErrorData, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, Empty};
use tokio_util::sync::CancellationToken;

use crate::mcp::framing::{Line, Lines, MAX_LINE_BYTES};
use crate::mcp::json_id::IdFinder;
use crate::mcp::surrogates::replace_halves;

type Sending = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// A client's streams.
pub struct Transport<R, W: AsyncWrite> {
    lines: Lines<R>,
    /// It only sends: its own input is empty.
    output: AsyncRwTransport<RoleServer, Empty, W>,
    /// An answer that is being sent before anything else is read.
    answer: Option<Sending>,
    /// Is cancelled when the input ends. rmcp would let running calls go on for some seconds first.
    ended: CancellationToken,
}

impl<R, W> Transport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub fn new(input: R, output: W, ended: CancellationToken) -> Self {
        let output = AsyncRwTransport::new(tokio::io::empty(), output);
        Self { lines: Lines::new(input, MAX_LINE_BYTES), output, answer: None, ended }
    }

    /// The next message; none when the input is over. Nothing is lost if the future is dropped.
    async fn next(&mut self) -> io::Result<Option<RxJsonRpcMessage<RoleServer>>> {
        loop {
            if let Some(answer) = &mut self.answer {
                answer.await?;
                self.answer = None;
            }
            let Some(line) = self.lines.next().await? else { return Ok(None) };
            match read(line) {
                Ok(None) => {}
                Ok(message) => return Ok(message),
                Err(unreadable) => {
                    let Unreadable { answer, error } = *unreadable;
                    tracing::warn!("{}", error.message);
                    if let Some(id) = answer {
                        let answer = TxJsonRpcMessage::<RoleServer>::error(error, id);
                        self.answer = Some(Box::pin(transport::Transport::send(&mut self.output, answer)));
                    }
                }
            }
        }
    }
}

impl<R, W> transport::Transport<RoleServer> for Transport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        transport::Transport::send(&mut self.output, item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let received = self.next().await.unwrap_or_else(|error| {
            tracing::warn!("cannot go on with this client: {error}");
            None
        });
        if received.is_none() {
            self.ended.cancel();
        }
        received
    }

    async fn close(&mut self) -> io::Result<()> {
        transport::Transport::close(&mut self.output).await
    }
}

/// A line that is no message.
#[derive(Debug)]
struct Unreadable {
    /// The id to answer with, if it can be told; none where nobody waits for an answer.
    answer: Option<Option<RequestId>>,
    error: ErrorData,
}

/// The message of a line; none if it is to be ignored.
fn read(line: Line) -> Result<Option<RxJsonRpcMessage<RoleServer>>, Box<Unreadable>> {
    let mut line = match line {
        Line::Whole(line) => line,
        Line::TooLong { length, id } => {
            let error =
                format!("the request has {length} bytes, {MAX_LINE_BYTES} at most: give fewer or smaller files");
            return Err(Box::new(Unreadable {
                answer: request_id(id).map(Some),
                error: ErrorData::invalid_request(error, None),
            }));
        }
    };
    if trimmed(&line).is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(trimmed(&line)) {
        // So rmcp reads a request whose id it can't take, too.
        Ok(JsonRpcMessage::Notification(_)) if has_id(trimmed(&line)) => {}
        Ok(message) => return Ok(Some(message)),
        Err(_) => {}
    }
    let syntax = match serde_json::from_slice::<Value>(trimmed(&line)) {
        Ok(value) => return no_message(value),
        Err(error) => error,
    };
    match replace_halves(&mut line) {
        0 => Err(Box::new(no_json(&line, &syntax))),
        count => {
            tracing::info!("{count} halves of characters in a request were replaced by U+FFFD");
            read(Line::Whole(line))
        }
    }
}

fn has_id(message: &[u8]) -> bool {
    serde_json::from_slice::<Value>(message).is_ok_and(|message| message.get("id").is_some())
}

/// The line without what may stand around JSON.
fn trimmed(line: &[u8]) -> &[u8] {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    line.strip_prefix(BOM).unwrap_or(line).trim_ascii()
}

/// Says what is wrong with JSON that is no message.
fn no_message(value: Value) -> Result<Option<RxJsonRpcMessage<RoleServer>>, Box<Unreadable>> {
    let is_method = value["method"].is_string();
    if is_method && value.get("id").is_none() {
        // Nobody waits for the answer to a notification.
        return Ok(None);
    }
    let error = if value.is_array() {
        "cannot read an array of messages: send each in a line of its own"
    } else {
        "cannot read a message: it is no JSON-RPC 2.0; a request has `jsonrpc`, which is \"2.0\", an `id`, which is a string \
         or an integer, and a `method`"
    };
    let id = is_method.then(|| value["id"].clone());
    Err(Box::new(Unreadable { answer: Some(request_id(id)), error: ErrorData::invalid_request(error, None) }))
}

/// Says what is wrong with what is no JSON. It is answered if it was to be a request.
fn no_json(line: &[u8], error: &serde_json::Error) -> Unreadable {
    let mut finder = IdFinder::default();
    finder.feed(line);
    let error = format!(
        "cannot read a message: {error}; send JSON in UTF-8, with finite numbers, with control characters escaped, and less \
         than 128 levels deep"
    );
    Unreadable { answer: request_id(finder.found()).map(Some), error: ErrorData::parse_error(error, None) }
}

fn request_id(id: Option<Value>) -> Option<RequestId> {
    serde_json::from_value(id?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What a line is answered at once: the code and the id.
    fn refused(line: &[u8]) -> Option<(i32, Option<Value>)> {
        match read(Line::Whole(line.to_vec())) {
            Ok(_) => None,
            Err(unreadable) => {
                let Unreadable { answer, error } = *unreadable;
                answer.map(|id| (error.code.0, id.map(|id| id.into_json_value())))
            }
        }
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
            let message = read(Line::Whole(request(params))).expect("it can be read").expect("it is a message");
            let text = serde_json::to_string(&message).unwrap();
            assert!(text.contains('\u{fffd}'), "{text}");
        }
        // What else is wrong is still refused.
        assert_eq!(refused(&request(r#"["\ud83d",]"#)), Some((-32700, Some(json!(7)))));
    }

    #[test]
    fn json_that_is_no_message_is_refused_by_the_id_of_a_request() {
        for (line, id) in [
            (r#"{"jsonrpc":"1.0","id":77,"method":"ping"}"#, Some(json!(77))),
            (r#"{"id":"a","method":"ping"}"#, Some(json!("a"))),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"shell"}}"#, None),
            (r#"{"id":78}"#, None),
            ("{}", None),
            ("42", None),
            ("[]", None),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, None),
        ] {
            assert_eq!(refused(line.as_bytes()), Some((-32600, id)), "{line}");
        }
    }

    #[test]
    fn what_nobody_waits_for_is_not_answered() {
        for line in
            ["", " \r", "hello", "{", r#"{"method":"notifications/x","params":NaN}"#, r#"{"id":1,"result":NaN}"#]
        {
            assert_eq!(refused(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn byte_order_mark_and_a_carriage_return_are_passed_over() {
        let line = [b"\xef\xbb\xbf", &request("{}")[..], b"\r"].concat();
        assert!(matches!(read(Line::Whole(line)), Ok(Some(_))));
    }
}

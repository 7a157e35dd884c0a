//! Transports MCP messages over a pair of streams. Every line is answered, even one that cannot be parsed, except for valid
//! notifications and responses.
//!
//! rmcp's own transport silently drops a line that is not JSON, and the client waits forever. Clients do write such lines:
//! with an unpaired surrogate where they have cut a text, with NaN, or with unescaped control characters.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{ClientRequest, GetMeta, JsonRpcMessage, ProtocolVersion};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::mcp::framing::{Line, Lines, MAX_LINE_BYTES};
use crate::mcp::reading::{Reading, read};

type Sending = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// A client's streams.
pub struct Transport<R, W> {
    lines: Lines<R>,
    /// The rest of a batch, whose messages are taken one by one.
    batch: VecDeque<Vec<u8>>,
    /// `None` once it is closed.
    output: Arc<Mutex<Option<W>>>,
    /// Answers to send before anything else is read.
    answers: Option<Sending>,
    /// Whether a session was opened. Until then, rmcp treats a notification as an error.
    has_session: bool,
    /// Cancelled at the end of the input, since rmcp would let running calls go on for some seconds.
    ended: CancellationToken,
}

impl<R, W> Transport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub fn new(input: R, output: W, ended: CancellationToken) -> Self {
        let output = Arc::new(Mutex::new(Some(output)));
        let lines = Lines::new(input, MAX_LINE_BYTES);
        Self { lines, batch: VecDeque::new(), output, answers: None, has_session: false, ended }
    }

    /// Returns the next message, or `None` at the end of the input. Cancel-safe: nothing is lost if the future is dropped.
    async fn next(&mut self) -> io::Result<Option<RxJsonRpcMessage<RoleServer>>> {
        loop {
            if let Some(answers) = &mut self.answers {
                answers.await?;
                self.answers = None;
            }
            let line = match self.batch.pop_front() {
                Some(message) => Line::Whole(message),
                None => match self.lines.next().await? {
                    Some(line) => line,
                    None => return Ok(None),
                },
            };
            match read(line) {
                Ok(Reading::Nothing) => {}
                Ok(Reading::Batch(messages)) => self.batch = messages,
                Ok(Reading::Message(message)) => {
                    self.has_session |= opens_session(&message);
                    if self.has_session || matches!(*message, JsonRpcMessage::Request(_)) {
                        return Ok(Some(*message));
                    }
                    tracing::debug!("ignored before `initialize`: {message:?}");
                }
                Err(unreadable) => {
                    // It is the client's mistake, and the client is told.
                    tracing::info!("{}", unreadable.error.message);
                    let answers = unreadable.answers().iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
                    self.answers = Some(Box::pin(write(self.output.clone(), answers.concat())));
                }
            }
        }
    }
}

/// Returns whether a message can begin a conversation with rmcp: `initialize`, or a request of the stateless protocol.
fn opens_session(message: &RxJsonRpcMessage<RoleServer>) -> bool {
    let JsonRpcMessage::Request(message) = message else { return false };
    match &message.request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        request => {
            let meta = request.get_meta();
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
                && meta.protocol_version().is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
        }
    }
}

fn encoded(message: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Writes whole lines, even if the future that waits for them is dropped: a partial line would corrupt the next.
async fn write<W>(output: Arc<Mutex<Option<W>>>, lines: Vec<u8>) -> io::Result<()>
where
    W: AsyncWrite + Send + Unpin + 'static,
{
    let written = tokio::spawn(async move {
        let mut output = output.lock().await;
        let output = output.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        output.write_all(&lines).await?;
        output.flush().await
    });
    written.await.map_err(io::Error::other)?
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
        let output = self.output.clone();
        async move { write(output, encoded(&item)?).await }
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
        drop(self.output.lock().await.take());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn messages_of_an_array_are_read_one_by_one() {
        let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}, {"id":2,"method":"ping"}, {"method":"x"},
            {"jsonrpc":"2.0","id":"\ud83d","method":"ping"}]"#;
        let (input, mut output) = (format!("{}\n", batch.replace('\n', " ")), Vec::new());
        let mut transport = Transport::new(input.as_bytes(), tokio::io::sink(), CancellationToken::new());
        while let Some(message) = transport.next().await.unwrap() {
            output.push(serde_json::to_value(message).unwrap()["id"].clone());
        }
        // The second lacks the version of JSON-RPC.
        assert_eq!(output, [json!(1), json!("\u{fffd}")]);
    }
}

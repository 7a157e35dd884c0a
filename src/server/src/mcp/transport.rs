//! Transports MCP messages over a pair of streams. Every line is answered, even one that cannot be parsed, except for valid
//! notifications and responses.
//!
//! rmcp's own transport silently drops a line that is not JSON, and the client waits forever. Clients do write such lines:
//! with an unpaired surrogate where they have cut a text, with NaN, or with unescaped control characters. It also answers
//! only one of two requests with the same id; the second is refused here.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{ClientNotification, ClientRequest, ErrorData, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::mcp::framing::{Line, Lines, MAX_LINE_BYTES};
use crate::mcp::in_flight::InFlight;
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
    in_flight: InFlight,
    /// The `initialize` that is being answered, before which no further message is taken.
    opening: Option<RequestId>,
    /// Cancelled at the end of the input, since rmcp would let running calls go on for some seconds.
    ended: CancellationToken,
}

impl<R, W> Transport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub fn new(input: R, output: W, in_flight: InFlight, ended: CancellationToken) -> Self {
        let output = Arc::new(Mutex::new(Some(output)));
        let lines = Lines::new(input, MAX_LINE_BYTES);
        Self { lines, batch: VecDeque::new(), output, answers: None, in_flight, opening: None, ended }
    }

    /// Returns the next message, or `None` at the end of the input. Cancel-safe: nothing is lost if the future is dropped.
    async fn next(&mut self) -> io::Result<Option<RxJsonRpcMessage<RoleServer>>> {
        loop {
            if let Some(answers) = &mut self.answers {
                answers.await?;
                self.answers = None;
            }
            if let Some(id) = &self.opening {
                self.in_flight.freed(id).await;
                self.opening = None;
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
                Ok(Reading::Message(message)) => match self.admit(&message) {
                    Ok(()) => return Ok(Some(*message)),
                    Err(refusal) => self.begin_answers(&[refusal])?,
                },
                Err(unreadable) => {
                    // It is the client's mistake, and the client is told.
                    tracing::info!("{}", unreadable.error.message);
                    self.begin_answers(&unreadable.answers())?;
                }
            }
        }
    }

    /// Keeps account of the requests that are not answered yet, and refuses one whose id belongs to such a request.
    fn admit(&mut self, message: &RxJsonRpcMessage<RoleServer>) -> Result<(), Box<TxJsonRpcMessage<RoleServer>>> {
        match message {
            JsonRpcMessage::Request(message) => {
                let id = &message.id;
                if !self.in_flight.begin(id) {
                    let error = format!(
                        "the id {} is in use by a request that is not answered yet: give each request an id of its own",
                        serde_json::to_string(id).unwrap_or_default()
                    );
                    tracing::info!("refused a request whose id is in use");
                    let error = ErrorData::invalid_request(error, None);
                    return Err(Box::new(JsonRpcMessage::error(error, Some(id.clone()))));
                }
                if matches!(message.request, ClientRequest::InitializeRequest(_)) {
                    self.opening = Some(id.clone());
                }
            }
            JsonRpcMessage::Notification(message) => {
                if let ClientNotification::CancelledNotification(cancelled) = &message.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.in_flight.cancel(id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Begins to send messages, which are sent before anything else is read.
    fn begin_answers(&mut self, answers: &[impl serde::Serialize]) -> io::Result<()> {
        let answers = answers.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
        self.answers = Some(Box::pin(write(self.output.clone(), answers.concat())));
        Ok(())
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
        match &item {
            JsonRpcMessage::Response(response) => self.in_flight.answered(&response.id),
            JsonRpcMessage::Error(error) => error.id.iter().for_each(|id| self.in_flight.answered(id)),
            _ => {}
        }
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
        let mut transport =
            Transport::new(input.as_bytes(), tokio::io::sink(), InFlight::default(), CancellationToken::new());
        while let Some(message) = transport.next().await.unwrap() {
            output.push(serde_json::to_value(message).unwrap()["id"].clone());
        }
        // The second lacks the version of JSON-RPC.
        assert_eq!(output, [json!(1), json!("\u{fffd}")]);
    }
}

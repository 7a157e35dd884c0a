//! Progress of a call, for the client that asked for it.

use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext};

use crate::call::stage::Stage;
use crate::call::tool::Tool;

/// Sends progress to a client that gave a token.
pub struct Progress {
    to: Option<(Peer<RoleServer>, ProgressToken)>,
    tool: &'static Tool,
    stage: Option<Stage>,
    sent: u32,
}

impl Progress {
    pub fn new(tool: &'static Tool, context: &RequestContext<RoleServer>) -> Self {
        let to = context.meta.get_progress_token().map(|token| (context.peer.clone(), token));
        Self { to, tool, stage: None, sent: 0 }
    }

    pub async fn enter(&mut self, stage: Stage) {
        self.stage = Some(stage);
        self.beat().await;
    }

    pub async fn beat(&mut self) {
        if let (Some((peer, token)), Some(stage)) = (&self.to, &self.stage) {
            self.sent += 1;
            let message = format!("{}: {stage}", self.tool.sandbox.id);
            let progress = ProgressNotificationParam::new(token.clone(), self.sent.into()).with_message(message);
            // A client that has disconnected needs no progress.
            let _ = peer.notify_progress(progress).await;
        }
    }
}

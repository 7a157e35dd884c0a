//! Hands requests to the server if their client has said who it is: in a session, or in the request itself.
//!
//! rmcp has a client choose one of the two by its first request, and then refuses requests of the other kind. Clients that
//! try the newer kind first, and those that share a server by way of a proxy, mix them.

use std::borrow::Cow;

use rmcp::model::{ClientNotification, ClientRequest, ErrorData, ProtocolVersion, ServerConfig, ServerResult};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{RoleServer, Service};

use crate::mcp::in_flight::InFlight;
use crate::mcp::server::McpServer;

/// The server as rmcp calls it.
pub struct Dispatch {
    server: McpServer,
    in_flight: InFlight,
}

impl Dispatch {
    pub fn new(server: McpServer, in_flight: InFlight) -> Self {
        Self { server, in_flight }
    }
}

impl Service<RoleServer> for Dispatch {
    async fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let _handling = self.in_flight.handle(&context.id);
        if needs_session(&request) && context.peer.peer_info().is_none() {
            let missing = context.meta.missing_required_keys(&ProtocolVersion::V_2026_07_28);
            if !missing.is_empty() {
                let missing = missing.join(", ");
                let error = format!(
                    "there is no session: send `initialize` first, or give the request a `_meta` with {missing}"
                );
                return Err(ErrorData::invalid_params(error, None));
            }
        }
        Service::handle_request(&self.server, request, context).await
    }

    async fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Service::handle_notification(&self.server, notification, context).await
    }

    fn get_info(&self) -> ServerConfig {
        Service::get_info(&self.server)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Service::supported_protocol_versions(&self.server)
    }
}

/// Returns whether a request is none of those that may come before a session.
fn needs_session(request: &ClientRequest) -> bool {
    !matches!(
        request,
        ClientRequest::InitializeRequest(_) | ClientRequest::DiscoverRequest(_) | ClientRequest::PingRequest(_)
    )
}

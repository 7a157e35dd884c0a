//! The MCP server: it maps MCP's requests to calls, and their outcomes to results.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use rmcp::model::{
    CallToolRequestMethod, CallToolRequestParams, CallToolResponse, CallToolResult, ConstString, ContentBlock,
    CustomRequest, CustomResult, DiscoverResult, ErrorData, Implementation, InitializeRequestParams, InitializeResult,
    ListResourcesResult, ListToolsResult, MetaObject, PaginatedRequestParams, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ServerCapabilities, ServerConfig,
    SubscriptionFilter, Tool as McpTool, ToolAnnotations,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value};
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use sandbox_manifest::parameter::input_schema;

use crate::PROGRAM;
use crate::call::catalog::catalog;
use crate::call::job::Job;
use crate::call::options::OfferedOptions;
use crate::call::outcome::Outcome;
use crate::call::package_list;
use crate::call::packages::NoPackages;
use crate::call::tool::Tool;
use crate::mcp::answer::{self, Answer, Item};
use crate::mcp::call_log::CallLog;
use crate::mcp::clients;
use crate::mcp::description::description;
use crate::mcp::instructions::{Mode, instructions};
use crate::mcp::progress::Progress;
use crate::runner::Runner;
use crate::runner::error::RunError;
use crate::sandbox::backend::Backend;

/// How often progress of a running call is sent to a client that gave a token: clients give up on silent calls.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// How long the list of tools waits for what decides it, which may take minutes. It is right in most cases before.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the answer to a client's first request waits for the same, since its instructions name the tools that run on
/// this host's toolchains.
const INSTRUCTIONS_TIMEOUT: Duration = Duration::from_secs(1);

/// How many stages of one call may wait to be sent; further ones are dropped.
const MAX_QUEUED_STAGES: usize = 64;

/// The most characters of a result that a client should show whole; one large client cuts results shorter otherwise.
const MAX_RESULT_CHARACTERS: u64 = 100_000;

/// The key of a result's data in its metadata.
const RESULT: &str = "sandbox-mcp/result";

/// The most characters of an unknown tool's name that an error quotes.
const MAX_NAME_CHARACTERS: usize = 100;

#[derive(Clone)]
pub struct McpServer {
    runner: Arc<Runner>,
    /// Every running call, for the shutdown to wait for.
    calls: TaskTracker,
    shutdown: CancellationToken,
    /// Whether results carry structured content, and tools an output schema.
    structured_results: bool,
    /// What the instructions say of the tools.
    known_tools: Arc<OnceCell<KnownTools>>,
    /// Whether a list of tools was sent that has turned out otherwise since.
    list_changed: watch::Sender<bool>,
}

/// What was known of the tools when a client connected.
#[derive(Debug, Default)]
struct KnownTools {
    /// Those that are listed. `None` while toolchains are still searched.
    listed: Option<Vec<&'static str>>,
    /// Those that run on this host's toolchains.
    on_host: Vec<&'static str>,
    /// Whether it is still being found out which these are.
    is_open: bool,
}

impl McpServer {
    /// `shutdown` ends every call when it is cancelled.
    pub fn new(runner: Runner, structured_results: bool, shutdown: CancellationToken) -> Self {
        let runner = Arc::new(runner);
        // Toolchains of all tools are searched at once, while the client still initializes the session.
        for tool in catalog().tools {
            let runner = runner.clone();
            tokio::spawn(async move { runner.backend(&tool.sandbox).await });
        }
        tokio::spawn({
            let runner = runner.clone();
            async move { runner.settle().await }
        });
        Self {
            runner,
            calls: TaskTracker::new(),
            shutdown,
            structured_results,
            known_tools: Arc::default(),
            list_changed: watch::Sender::new(false),
        }
    }

    /// Finds out which tools there are and which of them run on this host's toolchains, for the instructions.
    async fn find_tools(&self) {
        let find = || async {
            let runner = self.runner.clone();
            // In a task of its own, which goes on after the timeout.
            let listed = tokio::spawn(async move {
                runner.settle().await;
                runner.available().await
            });
            let listed = timeout(INSTRUCTIONS_TIMEOUT, listed).await.ok().and_then(Result::ok);
            // With namespaces there is nothing to settle, however slow this machine is.
            let is_open = listed.is_none() && self.runner.executors().walls().await.namespaces.is_err();
            KnownTools { listed, on_host: self.runner.tools_on_host().await, is_open }
        };
        self.known_tools.get_or_init(find).await;
    }

    /// Waits until every call has ended and cleaned up. No new one may begin.
    pub async fn finish(&self) {
        self.calls.close();
        self.calls.wait().await;
        self.runner.finish().await;
    }

    /// Returns whether there is a list of packages that clients may ask for, and a tool that takes them.
    fn lists_packages(&self) -> bool {
        let are_all_on_host = self.known_tools.get().is_some_and(|known| known.on_host.len() == catalog().tools.len());
        self.runner.offered_options().packages.is_ok() && !package_list::is_empty() && !are_all_on_host
    }

    /// Returns what a client is told of a tool whose programs run on this backend.
    fn describe(&self, tool: &Tool, backend: &Backend, output_schema: Option<&Arc<Map<String, Value>>>) -> McpTool {
        let sandbox = &tool.sandbox;
        let hints = sandbox.annotations();
        let annotations = ToolAnnotations::from_raw(
            Some(sandbox.name.to_owned()),
            Some(hints.read_only),
            Some(hints.destructive),
            Some(hints.idempotent),
            Some(hints.open_world),
        );
        let offered = match backend.is_pinned() {
            true => self.runner.offered_options(),
            false => OfferedOptions { executor: false, packages: Err(NoPackages::Direct) },
        };
        let input_schema = input_schema(offered.parameters(sandbox), sandbox.timeout.as_secs());
        let description = description(sandbox, backend);
        let mut tool = McpTool::new(sandbox.id, description, Arc::new(input_schema))
            .with_title(sandbox.name)
            .with_annotations(annotations);
        tool.output_schema = output_schema.cloned();
        tool.meta = Some(metadata("anthropic/maxResultSizeChars", MAX_RESULT_CHARACTERS));
        tool
    }

    /// Runs one call and sends its progress to the client.
    async fn call(
        &self,
        tool: &'static Tool,
        job: Job,
        context: RequestContext<RoleServer>,
    ) -> Result<Outcome, RunError> {
        let cancelled = self.shutdown.child_token();
        // If this future is dropped, the run below must not go on.
        let _guard = cancelled.clone().drop_guard();
        let (sender, mut stages) = mpsc::channel(MAX_QUEUED_STAGES);
        let run = {
            let (runner, cancelled) = (self.runner.clone(), cancelled.clone());
            async move {
                let on_stage = |stage| drop(sender.try_send(stage));
                runner.run(job, &on_stage, &cancelled).await
            }
        };
        // In a task of its own, so that a panic becomes an answer.
        let mut run = self.calls.spawn(run);
        let mut progress = Progress::new(tool, &context);
        let mut heartbeat = interval_at(Instant::now() + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(stage) = stages.recv() => progress.enter(stage).await,
                ended = &mut run => return ended.map_err(|_| RunError::Panicked)?,
                () = context.ct.cancelled(), if !cancelled.is_cancelled() => cancelled.cancel(),
                _ = heartbeat.tick() => progress.beat().await,
            }
        }
    }
}

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        let none = KnownTools::default();
        let KnownTools { listed, on_host, is_open } = self.known_tools.get().unwrap_or(&none);
        let is_listed = |id| listed.as_ref().is_none_or(|listed| listed.contains(&id));
        let sandboxes: Vec<_> =
            catalog().tools.iter().map(|tool| &tool.sandbox).filter(|sandbox| is_listed(sandbox.id)).collect();
        let on_host: Vec<_> = on_host.iter().copied().filter(|id| is_listed(id)).collect();
        let mode = Mode {
            on_host: &on_host,
            is_open: *is_open,
            is_list_known: listed.is_some(),
            has_packages: self.lists_packages(),
        };
        let mut capabilities = ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        capabilities.resources = self.lists_packages().then(Default::default);
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(PROGRAM, env!("CARGO_PKG_VERSION")).with_title("Sandbox MCP"))
            .with_instructions(instructions(&sandboxes, mode))
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        self.find_tools().await;
        let result = self.negotiate_initialize(&request)?;
        // Requests of the session are answered in the version that it agreed on.
        context.peer.set_peer_info(request.with_protocol_version(result.protocol_version.clone()));
        Ok(result)
    }

    async fn discover(&self, _context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        self.find_tools().await;
        Ok(DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), self.get_info()))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // In a task of its own, so that it goes on after the timeout.
        let mut settled = tokio::spawn({
            let runner = self.runner.clone();
            async move { runner.settle().await }
        });
        if timeout(LIST_TIMEOUT, &mut settled).await.is_err() {
            // Until it is known, Nix is expected to stand in for namespaces where those are missing.
            let list_changed = self.list_changed.clone();
            tokio::spawn(async move {
                if let Ok(false) = settled.await {
                    list_changed.send_replace(true);
                    // Clients without a session are told by their subscriptions.
                    if context.peer.peer_info().is_some() {
                        // A client that is gone needs no list.
                        let _ = context.peer.notify_tool_list_changed().await;
                    }
                }
            });
        }
        let output_schema = self.structured_results.then(|| Arc::new(answer::schema()));
        let mut tools = Vec::new();
        for tool in catalog().tools {
            match self.runner.backend(&tool.sandbox).await {
                Ok(backend) => tools.push(self.describe(tool, &backend, output_schema.as_ref())),
                // A tool that cannot be used would only cost the model tokens.
                Err(reason) => tracing::debug!("tool `{}` is not listed: {reason}", tool.sandbox.id),
            }
        }
        Ok(ListToolsResult { tools, ..Default::default() })
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        // rmcp leaves out what `get_info` does not announce.
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut list_changed = self.list_changed.subscribe();
        let changes = async {
            if context.accepted().tools_list_changed.is_some()
                && list_changed.wait_for(|changed| *changed).await.is_ok()
            {
                // A client that is gone needs no list.
                let _ = context.sink().notify_tool_list_changed().await;
            }
            pending::<()>().await;
        };
        tokio::select! {
            () = changes => {}
            () = context.cancelled() => {}
            () = self.shutdown.cancelled() => {}
        }
        Ok(())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let list = Resource::new(package_list::URI, package_list::NAME)
            .with_title(package_list::TITLE)
            .with_mime_type(package_list::MIME);
        let resources = self.lists_packages().then_some(list).into_iter().collect();
        Ok(ListResourcesResult { resources, ..Default::default() })
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != package_list::URI || !self.lists_packages() {
            return Err(ErrorData::resource_not_found("unknown resource: resources/list names the resources", None));
        }
        let list =
            ResourceContents::text(package_list::markdown(), package_list::URI).with_mime_type(package_list::MIME);
        Ok(ReadResourceResult::new(vec![list]).into())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let log = CallLog::begin(&request.name);
        let Some(tool) = Tool::by_name(&request.name) else {
            log.refused();
            let names = self.runner.available().await.join(", ");
            let name: String = request.name.chars().take(MAX_NAME_CHARACTERS).collect();
            let message = format!("unknown tool `{name}`: the tools are {names}");
            return Err(ErrorData::invalid_params(message, None));
        };
        let client = context.client_info();
        let offered = self.runner.offered_to(&tool.sandbox).await;
        let result = match tool.job(request.arguments.unwrap_or_default(), offered) {
            Err(error) => {
                log.refused();
                refusal(error.to_string())
            }
            Ok(job) => {
                let seconds = job.deadline.as_secs();
                match self.call(tool, job, context).await {
                    Ok(outcome) => {
                        log.ended(&outcome, seconds);
                        let answer = clients::adapted(Answer::of(outcome, seconds), client.as_ref());
                        content(answer, self.structured_results)
                    }
                    Err(error) => {
                        log.failed(&error);
                        refusal(error.to_string())
                    }
                }
            }
        };
        Ok(result.into())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        // Requests that rmcp cannot parse arrive here, too.
        if request.method == CallToolRequestMethod::VALUE {
            let name = request.params.as_ref().and_then(|params| params.get("name")?.as_str());
            CallLog::begin(name.unwrap_or_default()).refused();
            let message = "a call of a tool has a `name`, which is a string, and `arguments`, which are an object";
            return Err(ErrorData::invalid_params(message, None));
        }
        Err(ErrorData::new(rmcp::model::ErrorCode::METHOD_NOT_FOUND, request.method, None))
    }
}

/// Many clients that find structured content show a model nothing else, and lose the images and files: it is for programs
/// that ask for it. Otherwise the data is in the result's metadata, without what the text says already: models are shown
/// nothing of it, except that Gemini CLI shows its model the whole result of a failed call as JSON.
fn content(answer: Answer, structured: bool) -> CallToolResult {
    let mut data = answer.structured();
    let mut content = vec![ContentBlock::text(answer.text)];
    content.extend(answer.items.into_iter().map(block));
    let mut result = CallToolResult::success(content);
    if structured {
        result.structured_content = Some(data.into());
    } else {
        data.retain(|field, _| field != "stdout" && field != "stderr");
        result.meta = Some(metadata(RESULT, data));
    }
    result.is_error = Some(answer.is_error);
    result
}

fn block(item: Item) -> ContentBlock {
    match item {
        Item::Text(text) => ContentBlock::text(text),
        Item::Image { mime, data } => ContentBlock::image(BASE64.encode(data), mime),
        Item::Resource { uri, mime, data } => {
            ContentBlock::resource(ResourceContents::blob(BASE64.encode(data), uri).with_mime_type(mime))
        }
    }
}

/// Returns an error that a model can read and act on; clients hide protocol errors from it.
fn refusal(message: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(message)])
}

/// Returns metadata with one entry.
fn metadata(key: &str, value: impl Into<Value>) -> MetaObject {
    MetaObject(Map::from_iter([(key.to_owned(), value.into())]))
}

// Prints, for call.py, the images of a tool's output as the AI SDK gives it to a model: parts of type `file`.

const { createMCPClient } = require("@ai-sdk/mcp");
const { Experimental_StdioMCPTransport: StdioTransport } = require("@ai-sdk/mcp/mcp-stdio");

const [server, tool, code] = process.argv.slice(2);

async function main() {
  const client = await createMCPClient({ transport: new StdioTransport({ command: server, args: ["--stdio"] }) });
  const { [tool]: found } = await client.tools();
  const call = { toolCallId: "1", input: { main_py: code } };
  const output = await found.execute(call.input, { ...call, messages: [] });
  const shown = await found.toModelOutput({ ...call, output });
  for (const part of shown.value) {
    if (part.type === "file") console.log(part.mediaType, part.data.data);
  }
  await client.close();
}

main();

// Prints, for call.py, the images that the client of the protocol's own TypeScript SDK gets: content blocks of type `image`.

const { Client } = require("@modelcontextprotocol/sdk/client");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");

const [server, tool, code] = process.argv.slice(2);

async function main() {
  const client = new Client({ name: "typescript-sdk", version: "1" });
  await client.connect(new StdioClientTransport({ command: server, args: ["--stdio"] }));
  const { tools } = await client.listTools();
  const { name } = tools.find(({ name }) => name === tool);
  const { content } = await client.callTool({ name, arguments: { main_py: code } });
  for (const block of content) {
    if (block.type === "image") console.log(block.mimeType, block.data);
  }
  await client.close();
}

main();

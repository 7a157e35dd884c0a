"""Prints, for call.py, the images of LangChain's tool message: content blocks of type `image`."""

import asyncio
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient

server, tool, code = sys.argv[1:]


async def main():
    client = MultiServerMCPClient({"sandbox-mcp": {"transport": "stdio", "command": server, "args": ["--stdio"]}})
    tools = {tool.name: tool for tool in await client.get_tools()}
    message = await tools[tool].ainvoke({"type": "tool_call", "id": "1", "name": tool, "args": {"main_py": code}})
    for block in message.content_blocks:
        if block["type"] == "image":
            print(block["mime_type"], block["base64"])


asyncio.run(main())

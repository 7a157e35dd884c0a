"""Prints, for call.py, the images of what Pydantic AI's toolset returns: `BinaryImage`s."""

import asyncio
import base64
import sys

from fastmcp.client.transports import StdioTransport
from pydantic_ai import BinaryImage
from pydantic_ai.mcp import MCPToolset

server, tool, code = sys.argv[1:]


async def main():
    async with MCPToolset(StdioTransport(server, ["--stdio"])) as toolset:
        assert tool in [tool.name for tool in await toolset.list_tools()]
        for part in await toolset.direct_call_tool(tool, {"main_py": code}):
            if isinstance(part, BinaryImage):
                print(part.media_type, base64.b64encode(part.data).decode())


asyncio.run(main())

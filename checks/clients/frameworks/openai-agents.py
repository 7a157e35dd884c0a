"""Prints, for call.py, the images of a function call's output as the OpenAI Agents SDK sends it to a model: `input_image`s."""

import asyncio
import json
import sys

from agents import ItemHelpers, RunContextWrapper
from agents.mcp import MCPServerStdio, MCPUtil
from openai.types.responses import ResponseFunctionToolCall

server, tool, code = sys.argv[1:]


async def main():
    parameters = {"command": server, "args": ["--stdio"]}
    async with MCPServerStdio(parameters, client_session_timeout_seconds=60) as client:
        tools = {tool.name: tool for tool in await client.list_tools()}
        arguments = json.dumps({"main_py": code})
        output = await MCPUtil.invoke_mcp_tool(client, tools[tool], RunContextWrapper(None), arguments)
        call = ResponseFunctionToolCall(type="function_call", call_id="1", name=tool, arguments=arguments)
        for part in ItemHelpers.tool_call_output_item(call, output)["output"]:
            if part["type"] == "input_image":
                print(part["image_url"].removeprefix("data:").replace(";base64,", " "))


asyncio.run(main())

"""Lists the tools and calls each with its first case, by the inspector and by the Python client, in both eras. Has these
clients and each of frameworks/ draw a plot, which is to come as an image.

    call.py SERVER NODE INSPECTOR FRAMEWORKS_PYTHON
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from mcp import Client, StdioServerParameters

CASES = Path(__file__).parent.parent / "cases"
# Each program is called with SERVER TOOL CODE and prints what its framework would show a model of the answer: the media type and
# the base64 of each image in a line.
FRAMEWORKS = Path(__file__).parent / "frameworks"
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
# What a server says of a tool whose environment or toolchain is not on this machine.
WAYS_OUT = ("install Nix", "`nix build`", "let this machine use the pinned environment")
SECONDS = 120

server, node, inspector, frameworks_python = sys.argv[1:]
counts = {"passed": 0, "failed": 0, "skipped": 0}


# What the server itself says of its tools on this machine: which it lists to clients, and why not the others.
told = json.loads(subprocess.run([server, "list", "--json"], stdout=subprocess.PIPE, check=True).stdout)["tools"]
LISTED = [tool["name"] for tool in told if tool["available"]]
# Tools that can't run here, with the reason: those that the server does not list, and those whose environment can't be had, each
# in a line.
SKIPPED = {tool["name"]: tool["reason"] for tool in told if not tool["available"]} | dict(
    line.split(": ", 1) for line in os.environ.get("SANDBOX_MCP_SKIPPED_TOOLS", "").splitlines()
)
# Why no plot can be drawn here, if none can: without a pinned environment it takes a matplotlib of this machine.
PLOT_SKIPPED = SKIPPED.get("python")
if not PLOT_SKIPPED and next(tool for tool in told if tool["name"] == "python")["runs_on"] != "pinned":
    tried = subprocess.run(
        [server, "run", "python", "-"], input="import matplotlib", capture_output=True, text=True, check=False
    )
    PLOT_SKIPPED = tried.stderr.strip().splitlines()[-1] if tried.returncode else None


def main():
    # The first case of every tool says hello.
    cases = {path.stem: yaml.safe_load(path.read_text())[0]["arguments"] for path in sorted(CASES.glob("*.yaml"))}
    every = sorted(tool["name"] for tool in told)
    count("list --json", None if every == sorted(cases) else f"the tools are {every} instead of {sorted(cases)}")
    for era in ("legacy", "modern"):
        with_inspector(era, cases)
    for era in ("legacy", "auto", "2026-07-28"):
        asyncio.run(with_python(era, cases))
    for program in sorted(FRAMEWORKS.iterdir()):
        with_framework(program)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    sys.exit(counts["failed"] != 0)


def count(name, problem):
    """A problem is a text; none is a pass."""
    skips = [PLOT_SKIPPED, *SKIPPED.values()]
    is_skipped = problem is not None and (problem in skips or any(way in problem for way in WAYS_OUT))
    what = "passed" if problem is None else "skipped" if is_skipped else "failed"
    counts[what] += 1
    print(f"{name}: {what}" + (f": {problem}" if problem else ""), flush=True)


def problem_of_list(names):
    return None if sorted(names) == sorted(LISTED) else f"the tools are {names} instead of {sorted(LISTED)}"


def problem_of_call(is_error, text, data):
    if is_error or text != "hello\n":
        return f"the answer is {text!r}"
    # In metadata nothing of the text is repeated.
    if not data or data.get("stdout", text) != text or data["exit_code"] != 0:
        return f"the data of the answer is {data}"
    return None


def problem_of_plot(images):
    """`images` are pairs of a media type and base64."""
    if [kind for kind, _ in images] != ["image/png"]:
        return f"the images are {[kind for kind, _ in images]}"
    data = base64.b64decode(images[0][1], validate=True)
    return None if data.startswith(b"\x89PNG\r\n\x1a\n") else f"the image begins with {data[:8]}"


def data_of(metadata):
    return (metadata or {}).get("sandbox-mcp/result")


def with_inspector(era, cases):
    def run(*arguments):
        command = [node, inspector, "--cli", server, "--stdio", "--protocol-era", era, "--format", "json", *arguments]
        # It keeps a catalogue of servers.
        with tempfile.TemporaryDirectory() as directory:
            environment = os.environ | {"MCP_CATALOG_PATH": f"{directory}/mcp.json"}
            return subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False
            )

    listed = run("--method", "tools/list", "--strict")
    # What it finds in the schemas is written there, grave or not, beside what the server tells of the machine.
    problem = "\n".join(line for line in listed.stderr.splitlines() if " INFO " not in line).strip() or None
    if problem is None:
        problem = problem_of_list([tool["name"] for tool in json.loads(listed.stdout)["result"]["tools"]])
    count(f"inspector, {era}: tools/list --strict", problem)
    for tool, arguments in cases.items():
        if tool in SKIPPED:
            count(f"inspector, {era}: {tool}", SKIPPED[tool])
            continue
        call = run("--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        if call.stdout.strip():
            result = json.loads(call.stdout)["result"]
            problem = problem_of_call(result.get("isError"), result["content"][0]["text"], data_of(result.get("_meta")))
        else:
            problem = call.stderr
        count(f"inspector, {era}: {tool}", problem)
    name = f"inspector, {era}: plot as image"
    if PLOT_SKIPPED:
        count(name, PLOT_SKIPPED)
        return
    arguments = json.dumps({"main_py": PLOT})
    call = run("--method", "tools/call", "--tool-name", "python", "--tool-args-json", arguments)
    content = json.loads(call.stdout)["result"]["content"] if call.stdout.strip() else []
    images = [(block["mimeType"], block["data"]) for block in content if block["type"] == "image"]
    count(name, problem_of_plot(images) if content else call.stderr)


async def with_python(era, cases):
    # The client itself checks structured answers against the tools' schemas.
    for arguments in (["--stdio"], ["--stdio", "--structured-results"]):
        await with_python_and(arguments, era, cases)


async def with_python_and(arguments, era, cases):
    structured = "--structured-results" in arguments
    name = f"mcp for Python, {era}, structured" if structured else f"mcp for Python, {era}"
    parameters = StdioServerParameters(command=server, args=arguments)
    async with Client(parameters, mode=era, read_timeout_seconds=SECONDS) as client:
        tools = (await client.list_tools()).tools
        count(f"{name}: tools/list", problem_of_list([tool.name for tool in tools]))
        for tool, arguments in cases.items():
            if tool in SKIPPED:
                count(f"{name}: {tool}", SKIPPED[tool])
                continue
            progress = []

            async def note(*update):
                progress.append(update)

            result = await client.call_tool(tool, arguments, progress_callback=note)
            data = result.structured_content if structured else data_of(result.meta)
            problem = problem_of_call(result.is_error, result.content[0].text, data)
            if problem is None and not progress:
                problem = "no progress was told"
            count(f"{name}: {tool}", problem)
        if PLOT_SKIPPED:
            count(f"{name}: plot as image", PLOT_SKIPPED)
            return
        result = await client.call_tool("python", {"main_py": PLOT})
        images = [(block.mime_type, block.data) for block in result.content if block.type == "image"]
        count(f"{name}: plot as image", problem_of_plot(images))


def with_framework(program):
    name = f"{program.stem}: plot as image"
    if PLOT_SKIPPED:
        count(name, PLOT_SKIPPED)
        return
    interpreter = frameworks_python if program.suffix == ".py" else node
    command = [interpreter, program, server, "python", PLOT]
    call = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    images = [line.split(" ") for line in call.stdout.splitlines()]
    count(name, call.stderr if call.returncode else problem_of_plot(images))


main()

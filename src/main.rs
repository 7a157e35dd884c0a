//! Arguments → commands.

fn main() {
    for tool in sandbox_mcp::tool::TOOLS {
        println!("{}\t{}", tool.sandbox.id, tool.sandbox.description);
    }
}

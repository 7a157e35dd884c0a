# Files that programs look for in /etc, which are the same in every sandbox: in share/sandbox-mcp/etc.
{ iana-etc, runCommand }:
runCommand "sandbox-etc" { } ''
  etc=$out/share/sandbox-mcp/etc
  mkdir -p $etc
  cp ${iana-etc}/etc/{protocols,services} $etc/
  cat > $etc/os-release <<END
  NAME=Linux
  ID=linux
  PRETTY_NAME="Linux, in a sandbox of sandbox-mcp"
  END
''

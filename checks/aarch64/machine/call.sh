echo "$(uname -m) $((6 * 7))"
exit 7

"""Becomes a program of 32-bit ARM that exits with 42."""

import os
import struct
import tempfile

EXECUTABLE, ARM, EABI5, LOAD, READ_EXECUTE = 2, 40, 0x0500_0000, 1, 5
BASE, HEADERS = 0x10000, 52 + 32

code = struct.pack("<3I", 0xE3A0002A, 0xE3A07001, 0xEF000000)  # mov r0, #42; mov r7, #1 (exit); svc 0
size = HEADERS + len(code)
header = b"\x7fELF\x01\x01\x01" + bytes(9)
header += struct.pack("<HHIIIIIHHHHHH", EXECUTABLE, ARM, 1, BASE + HEADERS, 52, 0, EABI5, 52, 32, 1, 0, 0, 0)
header += struct.pack("<8I", LOAD, 0, BASE, BASE, size, size, READ_EXECUTE, 4096)

PATH = os.path.join(tempfile.gettempdir(), "arm32")
with open(PATH, "wb") as file:
    file.write(header + code)
os.chmod(PATH, 0o700)
os.execv(PATH, [PATH])

"""What attacks have in common: system calls by name, and the one line that tells how an attack went.

    held: <how>         what was tried was refused; `how` is what the suite compares
    ESCAPED: <what>     it was done
    BROKEN: <what>      the attack itself is wrong: what anybody may do has failed
    not here: <why>     this machine has no such thing to attack

Whatever else is printed is no verdict, and the attack has failed to show anything.
"""

import ctypes
import errno
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import time

# Numbers of system calls: of x86_64, and of aarch64, which is also that of every newer architecture.
_CALLS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "capset": (126, 91),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "getpid": (39, 172),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioperm": (173, None),
    "iopl": (172, None),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "landlock_create_ruleset": (444, 444),
    "listmount": (458, 458),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138),
    "sched_setattr": (314, 274),
    "seccomp": (317, 277),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmget": (29, 194),
    "socket": (41, 198),
    "statmount": (457, 457),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "tgkill": (234, 131),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
    "vmsplice": (278, 75),
}

_MACHINES = ("x86_64", "aarch64")

NEW_NAMESPACES = {
    "NEWTIME": 0x80,
    "NEWNS": 0x20000,
    "NEWCGROUP": 0x2000000,
    "NEWUTS": 0x4000000,
    "NEWIPC": 0x8000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}
PR_SET_NAME = 15

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


# --- Verdicts ---------------------------------------------------------------------------------------------------------


def _verdict(line):
    print(line, flush=True)
    # At once, whatever threads or children are left.
    os._exit(0)


def held(how):
    _verdict(f"held: {how}")


def escaped(what):
    _verdict(f"ESCAPED: {what}")


def not_here(why):
    _verdict(f"not here: {why}")


def control(what, action, *arguments):
    """Does what anybody may do, so that an attack which fails is known to fail for the reason that it names."""
    try:
        result = action(*arguments)
    except OSError as error:
        _verdict(f"BROKEN: {what}: {name_of(error)}")
    if result is False:
        _verdict(f"BROKEN: {what}")
    return result


def name_of(error):
    return errno.errorcode.get(error.errno, str(error.errno)) if error.errno else type(error).__name__


def attempt(action, *arguments):
    """One deed that must be refused: a system call by its name, or a function."""
    attempts({str(action): lambda: call(action, *arguments) if isinstance(action, str) else action(*arguments)})


def attempts(deeds):
    """Deeds that must all be refused. The verdict names each way of refusing once."""
    refusals = set()
    for name, deed in deeds.items():
        try:
            result = deed()
        except OSError as error:
            refusals.add(name_of(error))
        else:
            escaped(f"{name} gave {result!r:.200}")
    held(" ".join(sorted(refusals)))


# --- System calls -----------------------------------------------------------------------------------------------------


def number(name):
    machine = platform.machine()
    found = _CALLS[name][_MACHINES.index(machine)] if machine in _MACHINES else None
    if found is None:
        not_here(f"the number of {name} on {machine}")
    return found


def call(name, *arguments):
    return call_number(number(name), *arguments)


def call_number(number, *arguments):
    """A system call without any library in between. Integers are passed in all 64 bits."""
    converted = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    ctypes.set_errno(0)
    result = _libc.syscall(ctypes.c_long(number), *converted)
    if result == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def only_on(machine):
    if platform.machine() != machine:
        not_here(f"it is an attack on {machine}")


# --- Files and processes ----------------------------------------------------------------------------------------------


def read(path, size=4096):
    with open(path, "rb") as file:
        return file.read(size)


def read_something(path):
    """Reads a file or a directory. One that is empty is as good as none."""
    content = os.listdir(path) if os.path.isdir(path) else read(path, 64)
    if not content:
        raise FileNotFoundError(errno.ENOENT, "empty", path)
    return content


def open_for_writing(path):
    """Opens and changes nothing."""
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def child(action, *arguments):
    """Runs an action in a child and tells how the child ended: by `exit 0` unless the kernel saw to it otherwise."""
    pid = os.fork()
    if pid == 0:
        try:
            action(*arguments)
            os._exit(0)
        except OSError as error:
            os._exit(100 + error.errno)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    code = os.WEXITSTATUS(status)
    return errno.errorcode.get(code - 100, str(code)) if code > 100 else f"exit {code}"


def sleeper():
    """A child that does nothing."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    return pid


def be_known_as(name):
    """Gives this process a name of at most 15 bytes, by which the host can find it."""
    call("prctl", PR_SET_NAME, name.encode())


def stay(name):
    """Ends the preparations of a victim: from now on the host finds it by its name."""
    be_known_as(name)
    time.sleep(600)


# --- Memory -----------------------------------------------------------------------------------------------------------

MB = 1 << 20
PAGE = 4096


def touch(memory, begin=0, end=None):
    """Makes the kernel provide each page."""
    for offset in range(begin, len(memory) if end is None else end, PAGE):
        memory[offset] = 1


control("the numbers of system calls", lambda: call("getpid") == os.getpid())

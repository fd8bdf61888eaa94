#!/usr/bin/env python3
"""Records what Debian's inetutils-telnetd and login answer, as golden.txt beside this script.

    turncoat image build +inetutils-telnetd +openbsd-inetd +rsyslog
    turncoat image export default DIR
    sudo unshare --mount --uts --pid --fork python3 crates/turncoat/tests/telnet/record.py DIR

A connection on loopback is accepted as inetd does, and served by `/usr/sbin/tcpd /usr/sbin/telnetd` inside DIR. Each step of a
conversation in conversations.txt is sent, and what comes until it is quiet for a second is its answer. The Rust test sends the
same to the decoy.
"""
import os
import re
import select
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
QUIET = 1.2


def mask(answer):
    """What depends on the machine: kernel, terminal, names, dates."""
    answer = re.sub(rb"Linux [^ ]+ \(([^)]*)\) \(pts/\d+\)", rb"Linux RELEASE (HOST) (pts/N)", answer)
    answer = re.sub(rb"(^|\n)[a-z0-9-]+ login: ", rb"\1HOST login: ", answer)
    answer = re.sub(rb"(?s)\r\nLinux [^\r]* x86_64\r\n.*$", rb"\r\nMOTD", answer)
    return answer


def text(data):
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in data)


def conversations():
    name, steps = None, []
    with open(os.path.join(HERE, "conversations.txt")) as f:
        for line in f:
            line = line.rstrip("\n")
            if line.startswith("== "):
                if name:
                    yield name, steps
                name, steps = line[3:], []
            elif line.startswith("> "):
                steps.append(line[2:].encode().decode("unicode_escape").encode("latin-1"))
    yield name, steps


def answer(client):
    """What comes until it is quiet, and how the connection ends, if it does."""
    got = b""
    while select.select([client], [], [], QUIET)[0]:
        try:
            piece = client.recv(65536)
        except ConnectionResetError:
            return got, "reset"
        if not piece:
            return got, "end"
        got += piece
    return got, None


def converse(root, steps):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        # The urgent byte stays in its place.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        served, _ = listener.accept()
    pid = os.fork()
    if pid == 0:
        os.chroot(root)
        os.chdir("/")
        for fd in range(3):
            os.dup2(served.fileno(), fd)
        os.closerange(3, 1024)
        os.execve("/usr/sbin/tcpd", ["/usr/sbin/telnetd"],
                  {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8"})
    served.close()
    lines = []
    for step in [None, *steps]:
        if step is not None:
            lines.append("> " + text(step))
            try:
                client.sendall(step)
            except OSError:
                break
        got, end = answer(client)
        lines.append("< " + text(mask(got)))
        if end:
            lines.append("| " + end)
            break
    client.close()
    time.sleep(0.2)
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass
    os.waitpid(pid, 0)
    return lines


def main():
    root = os.path.abspath(sys.argv[1])
    run = lambda *words: subprocess.run(words, check=True)
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", f"{root}/proc")
    os.makedirs(f"{root}/dev/pts", exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", f"{root}/dev")
    for name, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
        os.mknod(f"{root}/dev/{name}", 0o20666, os.makedev(1, minor))
        os.chmod(f"{root}/dev/{name}", 0o666)
    os.mknod(f"{root}/dev/tty", 0o20666, os.makedev(5, 0))
    os.mkdir(f"{root}/dev/pts")
    run("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,gid=5,mode=620", "devpts", f"{root}/dev/pts")
    os.symlink("pts/ptmx", f"{root}/dev/ptmx")
    socket.sethostname("host")
    with open(f"{root}/etc/hosts", "w") as f:
        f.write("127.0.0.1\tlocalhost\n")
    with open(f"{root}/etc/inetd.conf", "a"):
        pass
    os.makedirs(f"{root}/run", exist_ok=True)
    open(f"{root}/run/utmp", "a").close()
    subprocess.run(["chroot", root, "chpasswd"], input=b"root:letmein\n", check=True)
    with open(os.path.join(HERE, "golden.txt"), "w") as out:
        for name, steps in conversations():
            out.write("== " + name + "\n" + "\n".join(converse(root, steps)) + "\n")
            out.flush()


main()

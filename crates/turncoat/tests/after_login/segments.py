#!/usr/bin/env python3
"""How a server's bytes lie in segments, case by case: `segments.py PORT [CASE ...]`, root with the password `letmein`.

OpenSSH's client talks through a relay that passes on what the client says only when the server has been silent for a while. For what
the server says between two silences: in how many segments it came, by the kernel's count (TCP_INFO), and how many bytes they were. Of
the last, in which a program's end races with its output, the bytes alone. record.py prints the same of a real sshd.
"""
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading

# Seconds: the client goes on; what the server says is something new.
SILENCE, PAUSE = 0.1, 0.3
SLOWLY = "sleep 0.7; echo one; sleep 0.7; echo two >&2; sleep 0.7"
CASES = {
    "login": (["-N"], "letmein", None),
    "refused": (["-N"], "wrong", None),
    "a classic key exchange": (["-o", "KexAlgorithms=diffie-hellman-group-exchange-sha256", "-o", "Ciphers=aes128-ctr", "-N"], "letmein", None),
    "a short key exchange": (["-o", "KexAlgorithms=ecdh-sha2-nistp256", "-o", "Ciphers=aes256-gcm@openssh.com", "-N"], "letmein", None),
    "compression": (["-C", "-N"], "letmein", None),
    "exec": ([SLOWLY], "letmein", b""),
    "much output": ([SLOWLY + "; head -c 2000 /dev/zero; sleep 0.7"], "letmein", b""),
    "terminal": (["-tt", "stty -echo; " + SLOWLY], "letmein", b""),
    "sftp": (["-s", "sftp"], "letmein", b"\0\0\0\x05\x01\0\0\0\x03"),
}


def segments(s):
    """Segments with data that came in (tcpi_data_segs_in)."""
    return struct.unpack_from("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 152)[0]


def everything(s):
    """What a peer says in one breath; nothing when it has gone."""
    said = b""
    while True:
        try:
            data = s.recv(65536)
        except ConnectionError:
            data = b""
        said += data
        if not data or not select.select([s], [], [], 0.02)[0]:
            return said


def relay(listener, port, bursts):
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", port))
    for s in (client, server):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    size, before, held, over = 0, 0, b"", False

    def burst():
        nonlocal size, before
        if size:
            bursts.append((segments(server) - before, size))
        size, before = 0, segments(server)

    while True:
        listening = [server] if held or over or not (size or bursts) else [server, client]
        ready, _, _ = select.select(listening, [], [], SILENCE if held or over else PAUSE)
        if server in ready:
            try:
                data = server.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                break
            size += len(data)
            try:
                client.sendall(data)
            except ConnectionError:
                over = True
        elif client in ready:
            held = everything(client)
            over = not held
        elif size or bursts:
            burst()
            if over:
                break
            server.sendall(held)
            held = b""
    burst()
    client.close()
    server.close()


def talk(port, args, password, stdin):
    listener = socket.create_server(("127.0.0.1", 0))
    bursts = []
    thread = threading.Thread(target=relay, args=(listener, port, bursts), daemon=True)
    thread.start()
    with tempfile.TemporaryDirectory() as home:
        options = ["-F", "none", "-p", str(listener.getsockname()[1]), "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={home}/k",
                   "-o", "NumberOfPasswordPrompts=1", "-o", "PreferredAuthentications=password", "-o", "UpdateHostKeys=no"]
        flags, last = (args, []) if stdin is None else (args[:-1], args[-1:])
        command = ["sshpass", "-p", password, "ssh", *options, *flags, "root@127.0.0.1", *last]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if stdin is not None:
            client.stdin.write(stdin)
            client.stdin.close()
        try:
            client.wait(6)
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait()
    thread.join(20)
    return bursts


def main():
    port, wanted = int(sys.argv[1]), sys.argv[2:] or list(CASES)
    for name in wanted:
        print(f"== {name}")
        bursts = talk(port, *CASES[name])
        for count, size in bursts[:-1]:
            print(f"{count} segments, {size} bytes")
        print(f"{bursts[-1][1]} bytes" if bursts else "nothing")


main()

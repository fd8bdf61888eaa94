#!/usr/bin/env python3
"""What an OpenSSH client sees after login, case by case: `talk.py PORT`, root with the password `letmein`.

For each case: the packets that the server sends after the login, in order, as the client's debug lines name them; what requests on
channels and refusals say; standard output and error of the command; the client's exit status. record.py prints the same of a real
sshd. What depends on the machine is masked.
"""
import os
import re
import subprocess
import sys
import tempfile
import time

# Name, arguments of ssh, command, input.
CASES = [
    ("exec", [], "echo out; exit 3", b""),
    ("exec, both outputs", [], "echo out; sleep 0.3; echo err >&2; sleep 0.3; exit 0", b""),
    ("killed by TERM", [], "kill -TERM $$; sleep 5", b""),
    ("killed by KILL", [], "kill -KILL $$; sleep 5", b""),
    ("killed by SEGV", [], "kill -SEGV $$; sleep 5", b""),
    ("killed by USR2, which has no name", [], "kill -USR2 $$; sleep 5", b""),
    ("killed by HUP", [], "kill -HUP $$; sleep 5", b""),
    ("no such command", [], "no-such-command", b""),
    ("input to its end", [], "cat; echo end", b"one\ntwo\n"),
    ("much input", [], "wc -c", b"x" * 300000),
    ("the program leaves first", [], "exec </dev/null; echo gone", b"x" * 200000),
    ("output goes on in the background", [], "(sleep 0.5; echo later) & echo now", b""),
    ("environment", ["-o", "SetEnv=LC_TIME=C.UTF-8 LANG=C FOO=bar"], "env | sort", b""),
    ("environment with a terminal", ["-tt"], "env | sort", b""),
    ("terminal", ["-tt"], "stty -a; tty | sed 's/[0-9]*$//'; ls -l $(tty) | cut -c1-22", b""),
    ("terminal, killed", ["-tt"], "kill -KILL $$; sleep 5", b""),
    ("terminal, its end typed", ["-tt"], "cat", b"line\n\x04"),
    ("shell", ["-tt"], "", b"exit 4\n"),
    ("shell without a terminal", ["-T"], "", b"echo $-; exit 5\n"),
    ("no such subsystem", ["-s"], "nosuch", b""),
    ("sftp", ["-s"], "sftp", b"\0\0\0\x05\x01\0\0\0\x03"),
    ("X11", ["-X"], "echo $DISPLAY.", b""),
    ("agent", ["-A"], "echo ${SSH_AUTH_SOCK%.*} | sed 's/ssh-.*/ssh-X/'; ls -ld /tmp/ssh-* | cut -c1-22", b""),
    ("a connection that is refused", ["-W", "127.0.0.1:1"], None, b""),
    ("a connection to a name that is none", ["-W", "no-such-name.invalid:1"], None, b""),
    ("a port is listened at", ["-R", "0:127.0.0.1:1"], "echo done", b""),
    ("a port is in use", ["-R", "22:127.0.0.1:1"], "echo done", b""),
    ("the client asks whether we are there", ["-o", "ServerAliveInterval=1"], "sleep 2.5; echo done", b""),
    ("no session", ["-N", "-o", "ServerAliveInterval=1"], None, None),
]

# Types of messages (RFC 4253, 4254), as far as they come after a login.
NAMES = {4: "debug", 80: "global", 81: "success", 82: "failure", 91: "open ok", 92: "open refused", 93: "window", 94: "data",
         95: "ext data", 96: "eof", 97: "close", 98: "request", 99: "channel success", 100: "channel failure"}

MASKS = [
    (r"SSH_CLIENT=.*", "SSH_CLIENT=HOST PORT PORT"),
    (r"SSH_CONNECTION=.*", "SSH_CONNECTION=HOST PORT HOST PORT"),
    (r"/dev/pts/\d+", "/dev/pts/N"),
    (r"XDG_SESSION_ID=\d+", "XDG_SESSION_ID=N"),
    (r"Last login: .* from .*", "Last login: DATE from HOST"),
    (r"(?s)Linux \S+ \S+ #\d[^\n]*x86_64.*?(?=Last login|\x1b|hBs)", "MOTD\n"),
    (r"root@[a-z0-9-]+:", "root@HOST:"),
    (r"allocated port \d+", "allocated port N"),
    (r"Allocated port \d+", "Allocated port N"),
    (r"/tmp/ssh-\w+/agent\.\d+", "/tmp/ssh-X/agent.N"),
    (r"port \d+: ", "port N: "),
    (r"\(pid \d+\)|pid=\d+", "pid"),
]


def mask(text):
    for pattern, put in MASKS:
        text = re.sub(pattern, put, text)
    return text


def notices(log):
    """What the debug lines after the login say of the server, in order."""
    out, inside = [], False
    for line in log.splitlines():
        if "Authenticated to" in line:
            inside = True
            continue
        if not inside:
            continue
        m = re.search(r"receive packet: type (\d+)", line)
        if m:
            n = int(m[1])
            # How data is cut and when windows grow depends on the speed of both.
            if n in (93, 94, 95):
                continue
            out.append(NAMES.get(n, str(n)))
            continue
        for pattern in (
            r"client_input_channel_req: channel \d+ (rtype .*)",
            r"client_input_global_request: (.*)",
            r"(channel \d+: open failed: .*)",
            r"Remote: (.*)",
            r"(X11 forwarding request failed.*)",
            r"(remote forward (?:success|failure) .*)",
            r"(Warning: remote port forwarding failed.*)",
            r"(subsystem request failed.*)",
            r"(shell request failed.*|exec request failed.*|PTY allocation request failed.*)",
            r"(stdio forwarding failed)",
        ):
            m = re.search(pattern, line)
            if m:
                out.append("  " + m[1].strip())
    # How often the client asks is a matter of time.
    out = [n for i, n in enumerate(out) if n != "failure" or out[i - 1 : i] != ["failure"]]
    # So is whether the client has closed its side when the program ends: if not, it is told that nobody reads.
    out = [n for i, n in enumerate(out) if "eow@" not in n and "eow@" not in "".join(out[i + 1 : i + 2])]
    # Whether a program's end or that of its output is noticed first is chance with sshd too.
    for i, n in enumerate(out):
        if n == "eof" and out[i + 1 : i + 2] == ["request"] and "exit-" in out[i + 2]:
            out[i : i + 3] = [*out[i + 1 : i + 3], "eof"]
    return out


def run(port, case, known):
    name, args, command, given = case
    words = ["sshpass", "-p", "letmein", "ssh", "-vvv", "-F", "none", "-p", str(port), "-o", "StrictHostKeyChecking=no",
             "-o", f"UserKnownHostsFile={known}", "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1", *args]
    words += ["root@127.0.0.1"] + ([command] if command else [])
    env = {**os.environ, "DISPLAY": ":77", "TERM": "xterm"}
    agent = None
    if "-A" in args:
        agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True).stdout
        env.update(re.findall(r"(SSH_AUTH_SOCK|SSH_AGENT_PID)=([^;]+)", agent))
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    try:
        if name.startswith("shell"):
            # Typed at the prompt: what is typed before is echoed wherever it meets the output.
            time.sleep(6)
        if given is None:
            child.communicate(timeout=3.7)
        out, err = child.communicate(given, timeout=40)
        status = child.returncode
    except subprocess.TimeoutExpired:
        child.terminate()
        out, err = child.communicate()
        status = "stopped"
    if agent:
        subprocess.run(["ssh-agent", "-k"], env=env, capture_output=True)
    log = err.decode("latin-1").replace("\r", "")
    said = [l for l in log.splitlines() if not re.match(r"debug\d: |OpenSSH_|Warning: Permanently|Authenticated to|Transferred|Bytes per", l)]
    said = [l for l in said if l and not l.startswith("  #") and "client_loop" not in l and "Killed by signal" not in l]
    print(f"== {name}")
    for n in notices(log):
        print(mask("  " + n))
    for label, text in (("out", out.decode("latin-1")), ("err", "\n".join(said))):
        for line in mask(text).split("\n") if text else []:
            # Without logind, as where the real one was recorded, there are none of these.
            if not line.startswith("XDG_"):
                print(f"{label}: {line!r}")
    print(f"status: {status}", flush=True)


def main():
    port = int(sys.argv[1])
    wanted = sys.argv[2:]
    with tempfile.TemporaryDirectory() as directory:
        known = os.path.join(directory, "known")
        # The first login makes the directories and files of a first login.
        subprocess.run(["sshpass", "-p", "letmein", "ssh", "-F", "none", "-p", str(port), "-o", "StrictHostKeyChecking=no",
                        "-o", f"UserKnownHostsFile={known}", "root@127.0.0.1", "true"], stdin=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        for case in CASES:
            if not wanted or case[0] in wanted:
                run(port, case, known)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What a client sees after login, packet by packet, where ssh(1) asks for nothing of the kind: `packets.py PORT [CASE...]`.

Sizes of windows, signals, several channels at once, modes of terminals. Root and alice have the password `letmein`. For each case: what
was asked and how it was answered, and what each channel said, in order. record.py prints the same of a real sshd. Needs Debian's
package python3-paramiko, of which only the transport and the login are used.
"""
import re
import struct
import sys
import threading
import time

import paramiko
from paramiko.message import Message

VERSION = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7"
PATIENCE = 15.0
MASKS = [
    (r"/dev/pts/\d+", "/dev/pts/N"),
    (r"/tmp/ssh-\w+/agent\.\d+", "/tmp/ssh-X/agent.N"),
    (r"\[\d+\]", "[N]"),
    (r"line (\d): +\d+ ", r"line \1: PID "),
    (r"alice@[a-z0-9-]+:|root@[a-z0-9-]+:", "USER@HOST:"),
]
CASES = []


def case(name, user="root"):
    def keep(function):
        CASES.append((name, user, function))
        return function

    return keep


def pack(*fields):
    """Numbers as uint32, booleans as a byte, strings with their length."""
    m = b""
    for f in fields:
        if isinstance(f, bool):
            m += bytes([f])
        elif isinstance(f, int):
            m += struct.pack(">I", f)
        else:
            f = f.encode() if isinstance(f, str) else f
            m += struct.pack(">I", len(f)) + f
    return m


class Channel:
    def __init__(self, connection, number):
        self.connection, self.number, self.remote = connection, number, None
        self.log, self.out, self.err, self.sizes, self.windows = [], b"", b"", [], 0
        self.ends = set()

    def send(self, kind, *fields):
        self.connection.send(kind, self.remote, *fields)

    def ask(self, name, *fields, want=True):
        """A request; waits for its answer."""
        before = len(self.log)
        self.send(98, name, want, *fields)
        if want:
            self.connection.until(lambda: any(l in ("success", "failure") for l in self.log[before:]) or self.connection.over)
            at = next((i for i in range(before, len(self.log)) if self.log[i] in ("success", "failure")), None)
            said = self.log.pop(at) if at is not None else "no answer"
            self.connection.notes.append(f"{self.number}: {name}: {said}")

    def data(self, data):
        self.send(94, data)

    def eof(self):
        self.send(96)

    def close(self):
        if "closed" not in self.ends:
            self.ends.add("closed")
            self.send(97)

    def says(self, text):
        self.connection.until(lambda: text.encode() in self.out or "close" in self.ends or self.connection.over)

    def ended(self):
        self.connection.until(lambda: "close" in self.ends or self.connection.over)


class Connection:
    """Transport and login are paramiko's; every packet behind them is ours."""

    def __init__(self, port, user):
        self.news, self.notes, self.channels, self.over = threading.Condition(), [], {}, False
        self.transport = paramiko.Transport(("127.0.0.1", port))
        self.transport.local_version = VERSION
        self.transport.start_client(timeout=PATIENCE)
        self.read = self.transport.packetizer.read_message
        self.transport.packetizer.read_message = self.next
        self.transport.auth_password(user, "letmein")

    def next(self):
        try:
            kind, m = self.read()
        except Exception:
            with self.news:
                self.over = True
                self.news.notify_all()
            raise
        if kind == 1 or kind == 4 or kind >= 80:
            with self.news:
                self.packet(kind, m)
                self.news.notify_all()
        return (2, m) if kind == 4 or kind >= 80 else (kind, m)

    def packet(self, kind, m):
        if kind == 1:
            self.notes.append(f"disconnect {m.get_int()} {m.get_text()!r}")
            self.over = True
        elif kind == 4:
            m.get_boolean()
            self.notes.append(f"debug {m.get_text()!r}")
        elif kind == 80:
            self.notes.append(f"global {m.get_text()}")
        elif kind in (81, 82):
            self.notes.append({81: "done", 82: "not done"}[kind])
        elif kind == 90:
            self.notes.append(f"opens {m.get_text()}")
        else:
            c = self.channels.get(m.get_int())
            if c is None:
                self.notes.append(f"{kind} for a channel that is none")
            elif kind == 91:
                c.remote = m.get_int()
                c.log.append(f"open, window {m.get_int()}, packets {m.get_int()}")
            elif kind == 92:
                c.ends.add("close")
                c.log.append(f"refused {m.get_int()} {m.get_text()!r}")
            elif kind == 93:
                # The first one opens the window; when others come is a matter of time.
                n = m.get_int()
                if not c.windows:
                    c.log.append(f"window {n}")
                c.windows += 1
            elif kind == 94:
                s = m.get_string()
                c.out += s
                c.sizes.append(len(s))
            elif kind == 95:
                m.get_int()
                c.err += m.get_string()
            elif kind in (96, 97):
                name = {96: "eof", 97: "close"}[kind]
                c.ends.add(name)
                c.log.append(name)
                if kind == 97:
                    c.close()
            elif kind == 98:
                name, want = m.get_text(), m.get_boolean()
                if name == "exit-status":
                    c.log.append(f"exit-status {m.get_int()}")
                elif name == "exit-signal":
                    said = (m.get_text(), m.get_boolean(), m.get_text(), m.get_text())
                    c.log.append("exit-signal {} core {} message {!r} language {!r}".format(*said))
                else:
                    c.log.append(name)
                c.ends.add(name)
                if want:
                    c.log[-1] += ", wants an answer"
            else:
                c.log.append({99: "success", 100: "failure"}.get(kind, f"packet {kind}"))

    def send(self, kind, *fields):
        if self.over:
            return
        m = Message()
        m.add_byte(bytes([kind]))
        m.packet.write(pack(*fields))
        self.transport._send_message(m)

    def until(self, test):
        with self.news:
            if not self.news.wait_for(test, PATIENCE):
                self.notes.append("waited in vain")

    def open(self, window=1 << 21, packet=1 << 15, kind="session"):
        c = self.channels[len(self.channels)] = Channel(self, len(self.channels))
        self.send(90, kind, c.number, window, packet)
        self.until(lambda: c.log or self.over)
        return c

    def run(self, command, **more):
        """A channel that runs a command."""
        c = self.open(**more)
        c.ask("exec", command)
        return c


def terminal(c, modes=b"\0", columns=80, rows=24, pixels=(0, 0), term="xterm"):
    c.ask("pty-req", term, columns, rows, *pixels, modes)


def modes(*pairs):
    return b"".join(bytes([op]) + struct.pack(">I", value) for op, value in pairs) + b"\0"


SIZES = ("exec perl -e '$|=1;sub size{ioctl(STDIN,0x5413,$b=\"\\0\"x8);print join(\" \",unpack(\"S4\",$b)),\"\\n\";} "
         "$SIG{WINCH}=sub{print \"WINCH \";size()}; size(); while(1){sleep 60}'")


@case("the window changes its size")
def window(k):
    c = k.open()
    terminal(c, pixels=(640, 480))
    c.ask("exec", "trap 'stty size; tput cols; tput lines' WINCH; stty size; tput cols; echo first; while :; do sleep 0.1; done")
    c.says("first")
    c.ask("window-change", 132, 43, 0, 0)
    c.says("43 132\r\n132\r\n43")
    # The same again is no change.
    c.ask("window-change", 132, 43, 0, 0)
    c.ask("window-change", 20, 5, 1, 2, want=False)
    c.says("5 20\r\n20\r\n5")
    c.data(b"\x03")
    c.ended()


@case("pixels of a window")
def pixels(k):
    c = k.open()
    terminal(c, pixels=(640, 480))
    c.ask("exec", SIZES)
    c.says("480")
    for size in [(80, 24, 640, 481), (0, 0, 0, 0), (70000, 65537, 65536, 1)]:
        before = c.out.count(b"WINCH")
        c.ask("window-change", *size)
        k.until(lambda: c.out.count(b"WINCH") > before and c.out.endswith(b"\n"))
    c.data(b"\x03")
    c.ended()


@case("a size before the program, and without a terminal")
def early(k):
    c = k.open()
    c.ask("window-change", 100, 30, 0, 0)
    terminal(c)
    c.ask("window-change", 101, 31, 0, 0)
    c.ask("exec", "stty size")
    c.ended()
    c = k.open()
    c.ask("exec", "echo here; read x; stty size")
    c.says("here")
    c.ask("window-change", 100, 30, 0, 0)
    c.data(b"\n")
    c.ended()


DEATHS = ["HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
          "XCPU", "XFSZ", "VTALRM", "PROF", "IO", "PWR", "SYS", "RTMIN", "RTMAX"]


@case("ends by signals")
def deaths(k):
    for name in DEATHS:
        k.run(f"exec perl -e 'kill {name}, $$; sleep 5'").ended()


@case("ends by signals of a shell's child")
def children(k):
    for name in ["TERM", "SEGV", "PIPE"]:
        k.run(f"perl -e 'kill {name}, $$; sleep 5'; echo $?").ended()
    k.run("yes | head -n 1; echo ${PIPESTATUS[*]}").ended()
    k.run("exit 300").ended()
    k.run("(sleep 0.6; kill -CONT $$) & kill -STOP $$; exit 9").ended()


TRAPS = ("trap 'echo USR1; exit 7' USR1; trap 'echo HUP; exit 8' HUP; trap 'echo INT; exit 9' INT; echo ready; "
         "sleep 2; sleep 1")


def signals(k):
    for name in ["HUP", "INT", "USR1"]:
        c = k.run(TRAPS)
        c.says("ready")
        # Until it sleeps.
        time.sleep(0.5)
        c.ask("signal", name)
        c.ended()
    for name in ["TERM", "KILL", "QUIT", "USR2"]:
        c = k.run("echo ready; exec sleep 2")
        c.says("ready")
        time.sleep(0.5)
        c.ask("signal", name)
        c.ended()


@case("signals from the client: root")
def signals_root(k):
    signals(k)


@case("signals from the client: a user", "alice")
def signals_user(k):
    signals(k)


@case("signals that no client may send", "alice")
def no_signals(k):
    c = k.open()
    c.ask("signal", "TERM")
    c.ask("exec", "echo ready; read x; echo $x")
    c.says("ready")
    for name in ["ALRM", "SEGV", "CONT", "STOP", "SIGTERM", "15", "", "term", "INFO@openssh.com", "FOO"]:
        c.ask("signal", name)
    c.ask("break", 500)
    c.data(b"alive\n")
    c.ended()
    c = k.open()
    c.ask("subsystem", "sftp")
    c.ask("signal", "TERM")
    c.eof()
    c.ended()


@case("a signal at a terminal", "alice")
def signal_terminal(k):
    c = k.open()
    terminal(c)
    c.ask("exec", TRAPS)
    c.says("ready")
    time.sleep(0.5)
    c.ask("break", 500)
    c.ask("signal", "USR1")
    c.ended()


@case("a break at root's terminal")
def a_break(k):
    c = k.open()
    terminal(c)
    c.ask("break", 0)
    c.ask("exec", "echo ready; read x; echo $x")
    c.says("ready")
    c.ask("break", 500)
    c.data(b"alive\n")
    c.ended()


@case("three channels, one is closed")
def three(k):
    shells = []
    for n in range(2):
        c = k.open()
        terminal(c)
        c.ask("exec", f"PS1= sh -c 'trap \"echo hup > /tmp/hup{n}; exit\" HUP; echo ready; while read x; do echo got $x {n}; done'")
        shells.append(c)
    for c in shells:
        c.says("ready")
    third = k.run("cat; echo end")
    third.data(b"one\n")
    third.says("one\n")
    shells[0].close()
    shells[0].ended()
    shells[1].data(b"hello\n")
    shells[1].says("got hello 1")
    third.data(b"two\n")
    third.eof()
    third.ended()
    time.sleep(0.5)
    k.run("cat /tmp/hup0; ls /tmp/hup1; rm -f /tmp/hup0").ended()
    shells[1].data(b"\x04")
    shells[1].ended()


@case("a channel is closed, its program goes on")
def goes_on(k):
    c = k.run("trap 'echo hup > /tmp/goes-on' HUP; echo ready; sleep 1; echo more; echo still > /tmp/goes-on")
    c.says("ready")
    c.close()
    c.ended()
    k.run("sleep 1.5; cat /tmp/goes-on; rm -f /tmp/goes-on").ended()


@case("more sessions than there may be")
def many(k):
    for _ in range(10):
        k.open()
    k.open()
    k.channels[3].close()
    k.channels[3].ended()
    k.run("echo again").ended()


@case("variables", "alice")
def variables(k):
    c = k.open()
    for name, value in [("LANG", "C"), ("LC_ALL", "C.UTF-8"), ("LC_", "x"), ("LANGUAGE", "de"), ("PATH", "/x"), ("LC_A=B", "x"),
                        ("lc_all", "x"), ("TERM", "vt100"), ("LC_X", "two words\nand a line"), ("LD_PRELOAD", "/x"), ("LC_ALL", "C")]:
        c.ask("env", name, value)
    c.ask("exec", "env | sort | grep -a -e ^L -e and -e ^TERM -e ^PATH")
    c.ended()
    c.ask("env", "LANG", "C")


@case("X11 and agent", "alice")
def x11(k):
    c = k.open()
    c.ask("x11-req", False, "MIT-MAGIC-COOKIE-1", "00112233445566778899aabbccddeeff", 0)
    c.ask("x11-req", False, "MIT-MAGIC-COOKIE-1", "00112233445566778899aabbccddeeff", 0)
    c.ask("auth-agent-req@openssh.com")
    c.ask("auth-agent-req@openssh.com")
    c.ask("exec", "echo $DISPLAY,$SSH_AUTH_SOCK")
    c.ended()
    d = k.open()
    d.ask("auth-agent-req@openssh.com")
    d.ask("exec", "echo $DISPLAY,$SSH_AUTH_SOCK")
    d.ended()


@case("requests that are none")
def none(k):
    c = k.open()
    c.ask("subsystem", "nosuch")
    c.ask("subsystem", "netconf")
    c.ask("no-such-request@example.org", "x")
    c.ask("exec", "echo all the same")
    c.ended()
    k.open(kind="no-such-kind")
    k.send(80, "no-such-global@example.org", True)
    k.until(lambda: k.notes and k.notes[-1] == "not done")


@case("requests to a program that runs")
def late(k):
    c = k.run("echo ready; read x; echo $x")
    c.says("ready")
    c.ask("exec", "echo second")
    c.ask("shell")
    c.ask("subsystem", "sftp")
    c.ask("env", "LANG", "C")
    c.ask("pty-req", "xterm", 80, 24, 0, 0, b"\0")
    c.data(b"done\n")
    c.ended()


@case("a second terminal")
def second(k):
    c = k.open()
    terminal(c)
    terminal(c)


STTY = "stty -a; stty size; echo $TERM"


@case("modes of a terminal")
def some_modes(k):
    for m in [
        modes((53, 0), (128, 9600), (129, 9600)),
        modes((1, 1), (2, 255), (3, 8), (5, 26), (51, 0), (50, 0), (72, 0)),
        modes((36, 0), (38, 0), (42, 1), (54, 1), (60, 1), (62, 0), (70, 1), (73, 1), (75, 1)),
        modes((90, 1), (91, 0), (92, 1), (93, 1)),
        modes((128, 115200), (129, 300)),
        modes((128, 12345), (129, 0)),
        modes((128, 4000000), (129, 134)),
        modes((128, 50), (129, 230400)),
        modes((129, 460800)),
        modes((129, 38400), (128, 57600)),
        modes((99, 1), (53, 0)),
        modes((160, 1), (53, 0)),
        modes((53, 0))[:-1],
        b"",
    ]:
        c = k.open()
        terminal(c, m)
        c.ask("exec", STTY)
        c.ended()


@case("modes that are cut off")
def cut_off(k):
    terminal(k.open(), b"\x35\0\0")


@case("sizes of a terminal at its start")
def start_sizes(k):
    for columns, rows, px in [(0, 0, (0, 0)), (65535, 1, (1, 1)), (65536, 65616, (0, 0)), (1, 1, (70000, 0))]:
        c = k.open()
        terminal(c, columns=columns, rows=rows, pixels=px)
        c.ask("exec", "stty size; perl -e 'ioctl(STDIN,0x5413,$b=\"\\0\"x8);print join(\" \",unpack(\"S4\",$b)),\"\\n\"'")
        c.ended()


@case("kinds of terminals")
def terms(k):
    for term in ["", "dumb", "no-such-terminal", "a b=c", "x" * 300]:
        c = k.open()
        terminal(c, term=term)
        c.ask("exec", "echo \"[$TERM]\"; tput cols")
        c.ended()


@case("input ends in its middle")
def middle(k):
    c = k.run("cat; echo end; cat; echo end")
    c.data(b"one")
    c.eof()
    # What comes behind the end is not heard.
    c.data(b"two\n")
    c.ended()
    c = k.run("sleep 0.7; wc -c")
    c.data(b"x" * 30000)
    c.eof()
    c.ended()
    c = k.run("head -c 3; echo; sleep 0.5; echo later")
    c.data(b"abcdef")
    c.ended()
    c = k.run("exec 0<&-; echo closed; sleep 0.5; echo later")
    c.says("closed")
    c.data(b"x" * 1000)
    c.ended()
    c = k.open()
    c.ask("exec", "cat; echo end")
    c.data(b"line\nhalf")
    c.eof()
    c.ended()
    # Before there is a program, an end is not heard.
    c = k.open()
    c.eof()
    c.ask("exec", "cat; echo end")
    time.sleep(1)
    k.notes.append(" ".join(sorted(c.ends)))


@case("input ends at a terminal")
def middle_terminal(k):
    c = k.open()
    terminal(c)
    c.ask("exec", "echo ready; cat; echo end; read x; echo $x")
    c.says("ready")
    c.data(b"one\n")
    c.eof()
    c.says("one\r\none")
    time.sleep(1)
    k.notes.append(" ".join(sorted(c.ends)))


def slow(k, c, step):
    """Opens the window bit by bit."""
    while "close" not in c.ends and not k.over:
        before = len(c.out) + len(c.err)
        c.send(93, step)
        k.until(lambda: len(c.out) + len(c.err) >= before + step or "close" in c.ends or k.over)


@case("much output and a small window")
def small(k):
    c = k.run("head -c 5000 /dev/zero | tr '\\0' x", window=1000, packet=100)
    k.until(lambda: len(c.out) == 1000)
    time.sleep(1)
    k.notes.append(f"{sum(c.sizes)} bytes, the largest {max(c.sizes)}; {' '.join(sorted(c.ends))}")
    slow(k, c, 1000)
    k.notes.append(f"{sum(c.sizes)} bytes, the largest {max(c.sizes)}")
    c.out = c.out.replace(b"x" * 5000, b"five thousand x")


@case("output to both and a small window")
def small_both(k):
    c = k.run("echo one; sleep 0.3; echo two >&2; sleep 0.3; head -c 3000 /dev/zero >&2; exit 6", window=10, packet=1 << 15)
    time.sleep(1.5)
    k.notes.append(f"{c.out!r} {c.err!r} {' '.join(sorted(c.ends))}")
    slow(k, c, 500)
    c.err = c.err.replace(b"\0" * 3000, b"three thousand zeros")


@case("a window of nothing")
def nothing(k):
    c = k.run("echo text; exit 5", window=0)
    time.sleep(1)
    k.notes.append(f"{len(c.out)} bytes; {' '.join(sorted(c.ends))}")
    c.send(93, 100)
    c.ended()


@case("a terminal and a small window")
def small_terminal(k):
    c = k.open(window=20, packet=8)
    terminal(c)
    c.ask("exec", "seq 1 30; exit 3")
    k.until(lambda: len(c.out) == 20)
    time.sleep(1)
    k.notes.append(f"{len(c.out)} bytes, the largest {max(c.sizes)}; {' '.join(sorted(c.ends))}")
    slow(k, c, 50)


@case("one channel waits, another goes on")
def waits(k):
    a = k.run("head -c 3000000 /dev/zero; echo end", window=4096)
    k.until(lambda: len(a.out) == 4096)
    b = k.run("head -c 200000 /dev/zero | wc -c; head -c 100000 /dev/zero")
    b.ended()
    k.notes.append(f"{len(a.out)} and {len(b.out)} bytes; {' '.join(sorted(a.ends))}")
    b.out = b.out.replace(b"\0" * 100000, b"zeros")
    a.send(93, 4000000)
    a.ended()
    a.out = a.out.replace(b"\0" * 3000000, b"zeros")


@case("what standard input and output are", "alice")
def descriptors(k):
    c = k.run("for n in 0 1 2; do readlink /proc/self/fd/$n; done; ls /proc/self/fd | wc -w; ps -o tty= -p $$; "
              "ulimit -c; umask; cat /proc/self/oom_score_adj; "
              "grep -e SigB -e SigI -e SigC -e Uid /proc/self/status")
    c.eof()
    c.ended()


def show(k):
    lines = []
    for note in k.notes:
        lines.append(f"  {note}")
    for c in k.channels.values():
        log = list(c.log)
        # Whether a program's end or that of its output is noticed first is chance.
        for i, entry in enumerate(log):
            if entry == "eof" and i + 1 < len(log) and log[i + 1].startswith("exit-"):
                log[i : i + 2] = [log[i + 1], "eof"]
        # Whether it is told that nobody reads depends on whether its input had ended by then.
        log = [l for l in log if l != "eow@openssh.com"]
        # With an end of input behind it, the one of output may come before.
        lines.append(f"  {c.number}: " + "; ".join(log))
        for name, text in (("out", c.out), ("err", c.err)):
            lines += [f"  {c.number} {name}: {line!r}" for line in text.decode("latin-1").split("\n")] if text else []
    text = "\n".join(lines)
    for pattern, put in MASKS:
        text = re.sub(pattern, put, text)
    return text


def main():
    port, wanted = int(sys.argv[1]), sys.argv[2:]
    for user in ("root", "alice"):
        # The first login makes what a first login makes.
        k = Connection(port, user)
        k.run("true").ended()
        k.transport.close()
    for name, user, function in CASES:
        if wanted and name not in wanted:
            continue
        k = Connection(port, user)
        try:
            function(k)
        except (EOFError, OSError, paramiko.SSHException) as e:
            k.notes.append(f"ends: {type(e).__name__}")
        print(f"== {name}\n{show(k)}", flush=True)
        k.transport.close()


if __name__ == "__main__":
    main()

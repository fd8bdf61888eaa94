#!/usr/bin/python3
"""The SSH decoy beside its peers: the same client, one after the other, on loopback.

    ssh_peers.py --turncoat target/release/turncoat --data DIR   the decoy, with an image in DIR (as `turncoat image build` leaves it)
                 --sshd                                          Debian's sshd with PAM (root; its /etc/shadow is a copy of its own)
                 --cowrie VENV                                   Cowrie from PyPI, in this virtual environment
                 --shells N (default 200), --quick               fewer repetitions
                 --hold                                          only the N shells: open, idle, and whether each answers a command

Needs Debian's python3-asyncssh. CPU is what the server's processes used by /proc, children that ended included; memory is their PSS.
"""
import argparse, asyncio, os, pathlib, shutil, signal, statistics, subprocess, sys, tempfile, time, warnings

warnings.filterwarnings("ignore")
import asyncssh  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
PASSWORD = "letmein"


def tree(root):
    """The process and everything below it."""
    children = {}
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit():
            try:
                stat = (p / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(stat[1]), []).append(int(p.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu(root):
    """Seconds of processor time, with that of children that were waited for."""
    ticks = 0
    for pid in tree(root):
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(int(n) for n in stat[11:15])
    return ticks / TICK


async def quiet(root):
    """Waits until what was begun before is done: a second with less than three hundredths of it used. Says how long that took."""
    began = time.perf_counter()
    while time.perf_counter() - began < 120:
        before = cpu(root)
        await asyncio.sleep(1)
        if cpu(root) - before < 0.03:
            break
    return time.perf_counter() - began


def memory(root):
    """KiB of PSS."""
    total = 0
    for pid in tree(root):
        try:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


class Peer:
    def __init__(self, name, port, command, env=None, cwd=None):
        self.name, self.port = name, port
        self.process = subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def ready(self):
        for _ in range(600):
            try:
                _, w = await asyncio.open_connection("127.0.0.1", self.port)
                w.close()
                return
            except OSError:
                await asyncio.sleep(0.1)
        sys.exit(f"{self.name} does not listen at {self.port}")

    def connect(self, n, password=PASSWORD):
        # 16 connections a source: what one source may have is bounded.
        source = f"127.0.{1 + n // 16 // 250}.{1 + n // 16 % 250}"
        return asyncssh.connect("127.0.0.1", self.port, username="root", password=password, known_hosts=None, client_keys=None,
                                agent_path=None, local_addr=(source, 0), connect_timeout=300, login_timeout=300,
                                preferred_auth="password")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


async def gather(at_once, jobs):
    gate = asyncio.Semaphore(at_once)

    async def one(job):
        async with gate:
            return await job()

    return await asyncio.gather(*(one(j) for j in jobs))


async def refused(peer, n):
    try:
        async with peer.connect(n, "wrong"):
            raise AssertionError("let in")
    except asyncssh.PermissionDenied:
        pass


async def command(peer, n):
    async with peer.connect(n) as c:
        return (await c.run("uname -a")).stdout


class Shell:
    """A terminal at a prompt."""

    async def open(self, peer, n):
        self.c = await peer.connect(n)
        self.p = await self.c.create_process(term_type="xterm", term_size=(200, 50), encoding="utf-8")
        self.n = 0
        await self.say("true")
        return self

    async def say(self, line):
        """Types a line; waits for a mark that only its end prints."""
        self.n += 1
        began = time.perf_counter()
        self.p.stdin.write(f"{line}; echo en''d{self.n}x\n")
        text = ""
        while f"end{self.n}x" not in text:
            part = await asyncio.wait_for(self.p.stdout.read(65536), 120)
            if not part:
                raise ConnectionError(text)
            text = (text + part)[-200000:]
        return time.perf_counter() - began

    def close(self):
        self.c.abort()


async def measure(peer, shells, quick, hold):
    await peer.ready()
    root, rows = peer.process.pid, {}
    count = 64 if quick else 512
    await refused(peer, 0)
    await command(peer, 0)
    # First of all: what was freed before would hide what is taken.
    before, began, used = memory(root), time.perf_counter(), cpu(root)
    opened = 0

    async def shell(n):
        nonlocal opened
        s = await Shell().open(peer, n)
        opened += 1
        if hold and opened % 500 == 0:
            print(f"{peer.name}: {opened} shells after {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        return s

    held = await gather(16, [lambda n=n: shell(n) for n in range(shells)])
    if hold:
        rows["CPU per shell that was opened, ms"] = 1000 * (cpu(root) - used) / shells
    # Idle is idle: the decoy lays worlds to rest that had nothing to do for ten seconds.
    await asyncio.sleep(15)
    rows[f"memory per idle shell, {shells} open, KiB"] = (memory(root) - before) / shells
    answered = await gather(16, [lambda s=s: s.say("echo") for s in held])
    assert len(answered) == shells
    if hold:
        rows["shells that answered afterwards"] = len(answered)
        rows["memory then, a shell, KiB"] = (memory(root) - before) / shells
    for s in held:
        s.close()
    if hold:
        return rows
    rows["quiet again after they were closed, s"] = await quiet(root)
    # Each load once before it counts: what is made once is not what one more costs.
    await gather(128, [lambda n=n: refused(peer, n) for n in range(128)])
    before = cpu(root)
    await gather(128, [lambda n=n: refused(peer, n % 128) for n in range(count)])
    rows["CPU per refused password, 128 at once, ms"] = 1000 * (cpu(root) - before) / count
    count = 64 if quick else 256
    await gather(32, [lambda n=n: command(peer, n) for n in range(32)])
    await quiet(root)
    before = cpu(root)
    said = await gather(32, [lambda n=n: command(peer, n % 32) for n in range(count)])
    assert all("Linux" in s for s in said), said[:3]
    rows["CPU per login and `uname -a`, 32 at once, ms"] = 1000 * (cpu(root) - before) / count

    await quiet(root)
    one = await Shell().open(peer, 0)
    times = [await one.say("ls -la /") for _ in range(20 if quick else 200)]
    rows["`ls -la /` at a prompt, p50 ms"] = 1000 * statistics.median(times)
    many = [await Shell().open(peer, n) for n in range(32)]
    rounds = 3 if quick else 20
    began = time.perf_counter()

    async def repeat(s):
        for _ in range(rounds):
            await s.say("ls -la /")

    await asyncio.gather(*(repeat(s) for s in many))
    rows["`ls -la /` a second, 32 shells"] = 32 * rounds / (time.perf_counter() - began)

    await quiet(root)
    idle = statistics.median([await one.say("echo") for _ in range(50)])
    busy = await Shell().open(peer, 40)
    for name, line in [("find /", "find / -xdev >/dev/null 2>&1"), ("a loop", "while :; do :; done")]:
        busy.p.stdin.write(f"{line}\n")
        await asyncio.sleep(0.5)
        try:
            loaded = statistics.median([await one.say("echo") for _ in range(20)])
            rows[f"others' `echo` while one runs {name}, ms (idle {1000 * idle:.1f})"] = 1000 * loaded
        except (ConnectionError, asyncio.TimeoutError):
            rows[f"others' `echo` while one runs {name}, ms (idle {1000 * idle:.1f})"] = float("inf")
        busy.p.stdin.write("\x03")
        await asyncio.sleep(0.5)
    for s in [one, busy, *many]:
        s.close()
    return rows


def turncoat(program, data):
    place = pathlib.Path(tempfile.mkdtemp(prefix="turncoat-bench-"))
    shutil.copytree(pathlib.Path(data) / "images", place / "images", symlinks=True)
    (place / "userdb.txt").write_text(f"root:x:{PASSWORD}\n")
    env = {
        "PATH": os.environ["PATH"],
        "TURNCOAT_DATA": str(place),
        "TURNCOAT_SSH_LISTEN": "127.0.0.1:24801",
        # As the others here: OpenSSH runs with a MaxStartups that none of the loads meets.
        "TURNCOAT_SSH_MAX_STARTUPS": "off",
        "TURNCOAT_SSH_AUTH_POLICY": "list",
        "TURNCOAT_SSH_AUTH_FILE": str(place / "userdb.txt"),
        "TURNCOAT_SSH_AUTH_FAIL_DELAY": "false",
        "TURNCOAT_LIMITS_CONNECTIONS": "20000",
        "TURNCOAT_LIMITS_CONNECTIONS_PER_SOURCE": "20000",
    }
    return Peer("turncoat", 24801, [program], env), place


def sshd():
    place = pathlib.Path(tempfile.mkdtemp(prefix="turncoat-bench-"))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "key"], check=True)
    hashed = subprocess.run(["perl", "-e", "print crypt($ARGV[0], q($y$j9T$abcdefghijklmnop$))", PASSWORD], check=True, capture_output=True, text=True).stdout
    lines = [l.split(":") for l in pathlib.Path("/etc/shadow").read_text().splitlines()]
    shadow = place / "shadow"
    shadow.touch(0o600)
    shadow.write_text("".join(":".join([l[0], hashed if l[0] == "root" else l[1], *l[2:]]) + "\n" for l in lines))
    # A home as Debian makes root's, whatever this machine's root has in his.
    home = place / "home"
    home.mkdir()
    for name in [".bashrc", ".profile"]:
        shutil.copy(f"/usr/share/base-files/dot{name}", home / name)
    lines = [l.split(":") for l in pathlib.Path("/etc/passwd").read_text().splitlines()]
    (place / "passwd").write_text("".join(":".join([*l[:5], str(home) if l[0] == "root" else l[5], l[6]]) + "\n" for l in lines))
    (place / "config").write_text(
        f"Port 24802\nListenAddress 127.0.0.1\nHostKey {place}/key\nUsePAM yes\nPermitRootLogin yes\nKbdInteractiveAuthentication no\n"
        "PrintMotd no\nMaxStartups 5000\nMaxSessions 100\nPidFile none\nLoginGraceTime 0\n")
    os.makedirs("/run/sshd", exist_ok=True)
    run = f"mount --bind {shadow} /etc/shadow && mount --bind {place}/passwd /etc/passwd && exec /usr/sbin/sshd -D -f {place}/config"
    return Peer("sshd", 24802, ["unshare", "-m", "sh", "-c", run]), place


def cowrie(venv):
    place = pathlib.Path(tempfile.mkdtemp(prefix="turncoat-bench-"))
    for d in ["etc", "var/log/cowrie", "var/lib/cowrie/tty", "var/lib/cowrie/downloads", "var/run"]:
        (place / d).mkdir(parents=True)
    (place / "etc/userdb.txt").write_text(f"root:x:{PASSWORD}\n")
    (place / "etc/cowrie.cfg").write_text("[ssh]\nlisten_endpoints = tcp:24803:interface=127.0.0.1\nauth_none_enabled = false\n[telnet]\nenabled = false\n")
    # It does not run as root.
    subprocess.run(["chown", "-R", "65534:65534", place], check=True)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    command += [f"{venv}/bin/twistd", "--umask=0022", "--nodaemon", "--pidfile=", "-l", "-", "cowrie"]
    return Peer("cowrie", 24803, command, {**os.environ, "PATH": f"{venv}/bin:{os.environ['PATH']}"}, place), place


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--turncoat")
    a.add_argument("--data", default="target/tmp/turncoat-shared")
    a.add_argument("--sshd", action="store_true")
    a.add_argument("--cowrie")
    a.add_argument("--shells", type=int, default=200)
    a.add_argument("--quick", action="store_true")
    a.add_argument("--hold", action="store_true")
    a = a.parse_args()
    makers = []
    if a.turncoat:
        makers.append(lambda: turncoat(a.turncoat, a.data))
    if a.sshd:
        makers.append(sshd)
    if a.cowrie:
        makers.append(lambda: cowrie(a.cowrie))
    results = {}
    for make in makers:
        peer, place = make()
        try:
            results[peer.name] = asyncio.run(measure(peer, a.shells, a.quick, a.hold))
            print(peer.name, results[peer.name], file=sys.stderr, flush=True)
        finally:
            peer.stop()
            shutil.rmtree(place, ignore_errors=True)
    names = list(results)
    print("| | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|")
    for row in dict.fromkeys(k.split(" (idle")[0] for r in results.values() for k in r):
        cells = []
        for n in names:
            hit = [(k, v) for k, v in results[n].items() if k.split(" (idle")[0] == row]
            extra = f" (idle {hit[0][0].split('(idle ')[1]}" if hit and "(idle" in hit[0][0] else ""
            cells.append(f"{hit[0][1]:.2f}{extra}" if hit else "-")
        print(f"| {row} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

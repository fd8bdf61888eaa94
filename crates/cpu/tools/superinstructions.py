#!/usr/bin/python3
"""Chooses which sequences of operations have handlers of their own, and writes crates/cpu/src/dispatch/superinstructions.in.

    superinstructions.py IMAGE          an image, as `turncoat image build` leaves it

Runs what people and programs do at a prompt with a build that counts how often each block runs, finds the sequences that save most handlers by
joining the two neighbours that follow each other most often, again and again, and keeps those that the best division of the blocks uses.
"""
import collections, os, pathlib, re, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
WORK = ROOT / "target/superinstructions"
LIST = ROOT / "crates/cpu/src/dispatch/superinstructions.in"
# What is typed, how often, and how much it counts; the login comes before each.
RUNS = [
    (":", 1, 1.0),
    ("ls -la /", 50, 1.2),
    ('bash -c "uname -a"; perl -e 1; cat /proc/cpuinfo | grep name | head -1; ps aux | tail -3; df -h; w; id; find /etc >/dev/null; '
     "ss -tlnp; curl -s 127.0.0.1:1; python3 -c 1; uptime; free -m", 5, 1.0),
    ('perl -e "for (1..50000){\\$a+=\\$_}"; mawk "BEGIN{for(i=0;i<50000;i++)a+=i}"; for ((i=0;i<3000;i++)); do :; done; '
     "head -c 60000 /dev/urandom | gzip | sha256sum; head -c 100000 /dev/urandom | base64 | sort -r | tail -1; busybox true", 5, 0.5),
]
# How many sequences are made, most of which stay. Each saves wrong guesses of where the next handler is, and all together they must not drive
# each other out of the processor's cache of instructions: with twice as many that costs what it saves.
ROUNDS = 330
LONGEST = 8
# Operations that take so long by themselves that nothing is gained.
ALONE = ("X87", "Env", "Mmx", "System", "Pcmpstr", "Maskmov")
ENDS = {"jmp": "Jump", "call": "Call", "ret": "Return", "fused": "Fused", "jcc": "Jcc", "call_to": "CallTo", "jmp_to": "JumpTo"}


def kind(symbol):
    """The handler's type as superinstruction.rs has it, and whether it ends a block; None if it is not for sequences."""
    name = re.sub(r"turncoat_cpu::dispatch::(op|alu|flow|sse|straight|string|system|fpu)::", "", symbol)
    if m := re.fullmatch(r"step::<true, (.*)>", name):
        return None if m[1].startswith(ALONE) else (m[1], False)
    if (m := re.fullmatch(r"(\w+)::<true(?:, (.*))?>", name)) and m[1] in ENDS:
        return ENDS[m[1]] + (f"<{m[2]}>" if m[2] else ""), True
    return None


def counted(image):
    """Blocks as tuples of types, with how much each counts."""
    env = {**os.environ, "RUSTFLAGS": "-C symbol-mangling-version=v0", "CARGO_TARGET_DIR": str(WORK)}
    subprocess.run(["cargo", "build", "--release", "-p", "turncoat-kernel", "--features", "counts", "--example", "world_bench"], cwd=ROOT, env=env, check=True)
    program = WORK / "release/examples/world_bench"
    symbols = subprocess.run(["nm", "-C", program], check=True, capture_output=True, text=True).stdout.splitlines()
    symbols = {int(a, 16): name for a, _, name in (line.split(" ", 2) for line in symbols if line[:1] != " ")}
    here = next(a for a, name in symbols.items() if name.endswith("::print_counts"))
    blocks = collections.Counter()
    for typed, times, weight in RUNS:
        print(typed, file=sys.stderr)
        said = subprocess.run([program, image, typed, str(times)], check=True, capture_output=True, text=True).stdout
        shift, found = 0, []
        for words in map(str.split, said.splitlines()):
            if words[:1] == ["base"]:
                shift = int(words[1], 16) - here
            elif words[:1] == ["block"]:
                kinds = [kind(symbols.get(int(h, 16) - shift, "")) for h in words[2:]]
                end = next((n + 1 for n, k in enumerate(kinds) if k and k[1]), len(kinds))
                found.append((int(words[1]), tuple(kinds[:end])))
        whole = sum(n * len(b) for n, b in found)
        for n, b in found:
            blocks[b] += weight * n / whole
    return blocks


def joined(blocks):
    """Sequences, by joining the neighbours that follow each other most often."""
    parts = [([(k,) for k in b], n) for b, n in blocks.items()]
    pairs, where = collections.Counter(), collections.defaultdict(set)

    def note(i, sign):
        row, n = parts[i]
        for a, b in zip(row, row[1:]):
            if a[-1] and b[0] and not a[-1][1] and len(a) + len(b) <= LONGEST:
                pairs[a, b] += sign * n
                where[a, b].add(i)

    for i in range(len(parts)):
        note(i, 1)
    chosen = []
    for _ in range(ROUNDS):
        (a, b), _n = max(pairs.items(), key=lambda item: (item[1], str(item[0])))
        chosen.append(a + b)
        for i in where[a, b]:
            note(i, -1)
            row, out = parts[i][0], []
            for part in row:
                if part == b and out and out[-1] == a:
                    out[-1] = a + b
                else:
                    out.append(part)
            parts[i] = (out, parts[i][1])
            note(i, 1)
        del pairs[a, b]
    return chosen


def used(blocks, chosen):
    """How much each saves in the best division of the blocks, as join() in superinstruction.rs makes it, and what is left to run."""
    chosen, saved, left = set(chosen), collections.Counter(), 0
    for b, n in blocks.items():
        best, take = [0] * (len(b) + 1), [1] * len(b)
        for i in reversed(range(len(b))):
            best[i] = best[i + 1] + 1
            for k in range(2, min(LONGEST, len(b) - i) + 1):
                if best[i + k] + 1 < best[i] and b[i : i + k] in chosen:
                    best[i], take[i] = best[i + k] + 1, k
        left += n * best[0]
        i = 0
        while i < len(b):
            if take[i] > 1:
                saved[b[i : i + take[i]]] += n * (take[i] - 1)
            i += take[i]
    return saved, left / sum(n * len(b) for b, n in blocks.items())


def kept(blocks):
    """The sequences that the best division of the blocks uses."""
    saved, left = used(blocks, joined(blocks))
    print(f"{len(saved)} sequences; {100 * left:.0f} handlers run for 100 operations", file=sys.stderr)
    return list(saved)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    blocks = counted(sys.argv[1])
    lines = []
    for s in kept(blocks):
        end = f" => {s[-1][0]}" if s[-1][1] else ""
        lines.append("    " + ", ".join(k for k, last in s if not last) + end + ";\n")
    LIST.write_text("// Made by crates/cpu/tools/superinstructions.py.\nsequences! {\n" + "".join(sorted(lines)) + "}\n")


if __name__ == "__main__":
    main()

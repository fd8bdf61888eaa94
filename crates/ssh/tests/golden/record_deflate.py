#!/usr/bin/env python3
"""Records what zlib makes of the packets of tests/deflate: `python3 record_deflate.py > deflate.txt`, on Debian 12.

Each line: seed, kind, packets, smallest and largest packet; then the length of all that came out, and the SHA-256 of each packet's length
(four bytes, little-endian) and bytes. As sshd calls it: level 6, partial flush, 4096 bytes of output a call.
"""

import ctypes
import hashlib
import sys

Z = ctypes.CDLL("libz.so.1")
Z.zlibVersion.restype = ctypes.c_char_p
WORDS = b"the shell behind decoys runs real programs on false kernels and records what they say".split()


class Stream(ctypes.Structure):
    _fields_ = [("next_in", ctypes.c_char_p), ("avail_in", ctypes.c_uint), ("total_in", ctypes.c_ulong),
                ("next_out", ctypes.c_void_p), ("avail_out", ctypes.c_uint), ("total_out", ctypes.c_ulong),
                ("msg", ctypes.c_char_p), ("state", ctypes.c_void_p), ("zalloc", ctypes.c_void_p), ("zfree", ctypes.c_void_p),
                ("opaque", ctypes.c_void_p), ("data_type", ctypes.c_int), ("adler", ctypes.c_ulong), ("reserved", ctypes.c_ulong)]


class Random:
    def __init__(self, seed):
        self.x = seed

    def below(self, n):
        self.x = (self.x * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.x >> 33) % n


def fill(kind, size, rng, before):
    out = bytearray()
    while len(out) < size:
        if kind == "random":
            out.append(rng.below(256))
        elif kind == "words":
            out += WORDS[rng.below(len(WORDS))] + b" "
        elif kind == "listing":
            out += b"-rw-r--r-- 1 root root %7d Nov %2d 12:%02d file%d\r\n" % (
                rng.below(1000000), rng.below(30) + 1, rng.below(60), rng.below(500))
        elif kind == "letters":
            out.append(97 + rng.below(4))
        elif kind == "runs":
            out += bytes([rng.below(3)]) * (1 + rng.below(700))
        elif kind == "again" and len(before) > 10 and rng.below(3):
            start = rng.below(len(before))
            out += before[start:start + 1 + rng.below(400)]
        else:
            out.append(rng.below(256))
    del out[size:]
    return bytes(out)


def main():
    if Z.zlibVersion() != b"1.2.13":
        sys.exit(f"expected zlib 1.2.13, as Debian 12 has it; this is {Z.zlibVersion().decode()}")
    cases = [(1, "random", 40, 4060, 4110), (2, "random", 300, 1, 60), (3, "words", 400, 1, 300), (4, "words", 12, 1000, 32768),
             (5, "listing", 200, 1, 4096), (6, "listing", 6, 16000, 200000), (7, "letters", 30, 1, 9000), (8, "runs", 30, 1, 30000),
             (9, "again", 150, 1, 4000), (10, "again", 8, 10000, 90000), (11, "letters", 2, 100000, 150000), (12, "listing", 2000, 1, 3),
             (13, "words", 700, 60, 90)]
    for seed, kind, packets, least, most in cases:
        rng, before = Random(seed), b""
        z = Stream()
        assert Z.deflateInit_(ctypes.byref(z), 6, b"1.2.13", ctypes.sizeof(z)) == 0
        buffer = ctypes.create_string_buffer(4096)
        digest, total = hashlib.sha256(), 0
        for _ in range(packets):
            data = fill(kind, least + rng.below(most - least + 1), rng, before)
            before = (before + data)[-200000:]
            z.next_in, z.avail_in, out = data, len(data), b""
            while True:
                z.next_out, z.avail_out = ctypes.addressof(buffer), 4096
                assert Z.deflate(ctypes.byref(z), 1) == 0
                out += buffer.raw[:4096 - z.avail_out]
                if z.avail_out:
                    break
            digest.update(len(out).to_bytes(4, "little") + out)
            total += len(out)
        print(seed, kind, packets, least, most, total, digest.hexdigest())


main()

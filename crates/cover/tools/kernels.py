#!/usr/bin/env python3
"""Writes data/kernels.tsv: Debian 12's kernels (ABI number, package version, date in `uname -v`, upload time).

Read from the changelog of the installed or downloaded `linux-libc-dev` package:
    apt-get download linux-libc-dev && dpkg-deb -x linux-libc-dev*.deb x
    tools/kernels.py x/usr/share/doc/linux-libc-dev/changelog.Debian.gz > data/kernels.tsv
"""
import email.utils, gzip, re, sys

text = gzip.open(sys.argv[1], "rt", errors="replace").read()
entries, version, bump = [], None, None
for line in text.splitlines():
    if m := re.match(r"linux \((6\.1\.[0-9-]+)\) ", line):
        version, bump = m[1], None
    elif m := re.search(r"Bump ABI to (\d+)", line):
        bump = bump or int(m[1])
    elif version and line.startswith(" -- "):
        entries.append((version, bump, email.utils.parsedate_to_datetime(line.split(">  ")[1])))
        version = None
entries.reverse()
abi, rows = None, []
for version, bump, when in entries:
    if bump:
        abi = bump
    elif abi is not None and abi >= 38:
        abi += 1  # since 6.1.0-38 every upload has an ABI of its own
    if abi:
        rows.append((abi, version, when))
latest = {r[0]: r for r in rows}
print("# ABI\tpackage version\tdate shown by uname -v\tupload time (UTC, seconds)")
for abi, version, when in latest.values():
    print(f"{abi}\t{version}\t{when.strftime('%Y-%m-%d')}\t{int(when.timestamp())}")

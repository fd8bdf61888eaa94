#!/usr/bin/env python3
"""Compares two root file systems: kinds, modes, owners, link targets, contents, file capabilities.

compare-trees.py NATIVE OURS [EXCUSES]

NATIVE was made by dpkg itself, OURS by us (`image export`). EXCUSES has lines `GLOB<TAB>REASON`; differences that they cover are
counted, all others are printed. The exit status says whether any were printed."""
import fnmatch, hashlib, os, stat, sys

def scan(root):
    out = {}
    for base, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(base, name)
            st = os.lstat(path)
            rel = path[len(root):]
            what = None
            if stat.S_ISREG(st.st_mode):
                what = hashlib.sha256(open(path, 'rb').read()).hexdigest()
            elif stat.S_ISLNK(st.st_mode):
                what = os.readlink(path)
            elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
                what = st.st_rdev
            mode = st.st_mode if not stat.S_ISLNK(st.st_mode) else 0o120777
            caps = {a: os.getxattr(path, a, follow_symlinks=False).hex()
                    for a in os.listxattr(path, follow_symlinks=False) if a == 'security.capability'}
            links = st.st_nlink if stat.S_ISREG(st.st_mode) else 0
            out[rel] = (oct(mode), st.st_uid, st.st_gid, what, links, str(caps))
    return out

a, b = scan(sys.argv[1].rstrip('/')), scan(sys.argv[2].rstrip('/'))
excuses = []
if len(sys.argv) > 3:
    for line in open(sys.argv[3]):
        if line.strip() and not line.startswith('#'):
            glob, reason = line.rstrip('\n').split('\t', 1)
            excuses.append([glob, reason, 0])
bad = 0
for path in sorted(set(a) | set(b)):
    x, y = a.get(path), b.get(path)
    if x == y:
        continue
    for e in excuses:
        if fnmatch.fnmatchcase(path, e[0]):
            e[2] += 1
            break
    else:
        bad += 1
        if x is None or y is None:
            print('native only' if y is None else 'ours only  ', path, (x or y)[0], (x or y)[3] if (x or y)[0].startswith('0o12') else '')
        else:
            print('differs    ', path, ' '.join(f'{m}!={n}' if len(str(m)) < 20 else 'content' for m, n in zip(x, y) if m != n))
print(f'{len(a)} native, {len(b)} ours, {bad} unexplained differences')
for glob, reason, n in excuses:
    print(f'  {n:5} {glob}: {reason}')
sys.exit(bad != 0)

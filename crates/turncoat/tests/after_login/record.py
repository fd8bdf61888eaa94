#!/usr/bin/env python3
"""Records what talk.py, packets.py and segments.py see of Debian's sshd, as golden.txt, packets.txt and segments.txt beside this script.

    turncoat image export default DIR
    sudo unshare --mount --uts --ipc --net --pid --fork /usr/bin/python3 crates/turncoat/tests/after_login/record.py DIR [packets|segments]

With a name that one alone. packets.py needs Debian's package python3-paramiko. sshd of the image runs inside DIR, with the package's configuration and PAM; root may log in with a password, as the decoy's policy has it.
"""
import os
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    root = os.path.abspath(sys.argv[1])
    run = lambda *words, **more: subprocess.run(words, check=True, **more)
    run("mount", "--make-rprivate", "/")
    run("ip", "link", "set", "lo", "up")
    run("mount", "-t", "proc", "proc", f"{root}/proc")
    run("mount", "-t", "tmpfs", "tmpfs", f"{root}/dev")
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        os.mknod(f"{root}/dev/{name}", 0o20666, os.makedev(1, minor))
        os.chmod(f"{root}/dev/{name}", 0o666)
    os.mknod(f"{root}/dev/tty", 0o20666, os.makedev(5, 0))
    os.chmod(f"{root}/dev/tty", 0o666)
    os.mkdir(f"{root}/dev/pts")
    run("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,gid=5,mode=620", "devpts", f"{root}/dev/pts")
    os.symlink("pts/ptmx", f"{root}/dev/ptmx")
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{fd}", f"{root}/dev/{name}")
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    socket.sethostname("host")
    with open(f"{root}/etc/hosts", "w") as f:
        f.write("127.0.0.1\tlocalhost\n")
    with open(f"{root}/etc/default/locale", "w") as f:
        f.write('LANG="C.UTF-8"\n')
    os.makedirs(f"{root}/run/sshd", exist_ok=True)
    for name in ("run/utmp", "var/log/wtmp", "var/log/lastlog"):
        open(f"{root}/{name}", "a").close()
    run("chroot", root, "useradd", "-m", "-s", "/bin/bash", "alice")
    run("chroot", root, "chpasswd", input=b"root:letmein\nalice:letmein\n")
    run("chroot", root, "ssh-keygen", "-A", stdout=subprocess.DEVNULL)
    sshd = subprocess.Popen(["chroot", root, "/usr/sbin/sshd", "-D", "-o", "PermitRootLogin=yes"])
    time.sleep(1)
    for name, file in (("talk", "golden"), ("packets", "packets"), ("segments", "segments")):
        if sys.argv[2:] in ([], [name]):
            with open(os.path.join(HERE, f"{file}.txt"), "w") as out:
                subprocess.run([sys.executable, os.path.join(HERE, f"{name}.py"), "22"], stdout=out, check=True)
    sshd.terminate()


main()

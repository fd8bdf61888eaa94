#!/bin/sh
# Runs a program of an unpacked image natively, the oracle that worlds are compared with.
#
#   native.sh ROOT COMMAND [ARGUMENT]...
#
# ROOT comes from `image export`, as root (owners and file capabilities matter). The program runs in fresh mount, pid, network,
# host name and ipc namespaces: it has no network but a loopback that is down, sees no process of the host, and what it
# writes lands in ROOT: export once, copy for each case. NATIVE_HOSTNAME sets the host name (default: debian).
set -eu
root=$1
shift
export NATIVE_ROOT="$root" NATIVE_HOSTNAME="${NATIVE_HOSTNAME:-debian}"
exec unshare --mount --pid --net --uts --ipc --fork --kill-child --propagation private /bin/sh -eu -c '
hostname "$NATIVE_HOSTNAME"
mount --bind "$NATIVE_ROOT" "$NATIVE_ROOT"
cd "$NATIVE_ROOT"
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys 2>/dev/null || true
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    set_() { mknod -m 666 "dev/$1" c "$2" "$3"; }
    set_ $node
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mkdir -m 1777 run/lock
exec chroot . /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    TERM="${TERM:-xterm}" LANG=C.UTF-8 "$@"
' native "$@"

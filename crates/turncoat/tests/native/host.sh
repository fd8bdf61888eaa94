#!/bin/sh
# Runs one case natively.
#
#   host.sh LOWER CASE HOSTNAME
#
# LOWER: overlay layers, colon-separated. CASE: a directory with `environment` (NAME=VALUE, each ended by a zero byte), `script`, `files.sh`;
# `status` and `files` are put there. The script's output is ours. Fresh mount, pid, network, host name and ipc
# namespaces: no network but loopback, no process of the host; and without the capabilities that reach past namespaces.
set -eu
export LOWER="$1" CASE="$2" NAME="$3"
mkdir "$CASE/up" "$CASE/work" "$CASE/root"
exec prlimit --nofile=1024: unshare --mount --pid --net --uts --ipc --fork --kill-child --propagation private /bin/sh -eu -c '
hostname "$NAME"
ip link set lo up
mount -t overlay -o "lowerdir=$LOWER,upperdir=$CASE/up,workdir=$CASE/work" overlay "$CASE/root"
cd "$CASE/root"
mount -t proc -o nosuid,nodev,noexec proc proc
# What belongs to the whole machine is out of reach: kernel settings but those of the network, the clock, modules, the kernel log.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
[ ! -e proc/sysrq-trigger ] || mount --bind /dev/null proc/sysrq-trigger
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys 2>/dev/null || true
mount -t tmpfs -o mode=755,nosuid tmpfs dev
set -- null 1 3 zero 1 5 full 1 7 random 1 8 urandom 1 9 tty 5 0
while [ $# -gt 0 ]; do mknod -m 666 "dev/$1" c "$2" "$3"; shift 3; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
mount -t tmpfs -o mode=755,nosuid tmpfs run
mkdir -m 1777 run/lock
mkdir run/sshd
# Directories that a case makes something in are copied up on the way; this shall not look like a change.
for d in root etc home srv opt usr/local var var/lib var/log var/cache var/spool var/tmp tmp; do chmod --reference="$d" "$d"; done
sleep 0.02
touch .begin
sleep 0.02
set +e
# A key that interrupts the case does not end us.
trap : INT QUIT TSTP
setpriv --bounding-set -sys_time,-sys_boot,-sys_module,-sys_rawio,-syslog,-wake_alarm,-audit_control,-mac_admin,-bpf,-perfmon perl -e "
    open F, q(<), qq(\$ENV{CASE}/environment); local \$/; my \$e = <F>;
    open S, q(<), qq(\$ENV{CASE}/script); my \$s = <S>;
    my \$case = \$ENV{CASE};
    my \$pid = fork;
    if (!\$pid) {
        %ENV = map { split /=/, \$_, 2 } split /\0/, \$e;
        chroot q(.) or die; \$) = q(0 0); chdir \$ENV{HOME}; umask 0022;
        exec { q(/bin/bash) } q(bash), q(-c), \$s;
    }
    \$SIG{\$_} = sub {} for qw(INT QUIT TSTP);
    1 while waitpid(\$pid, 0) < 0;
    open T, q(>), qq(\$case/status);
    print T \$? & 127 ? -(\$? & 127) : \$? >> 8;
"
chroot . /bin/bash -c "$(cat "$CASE/files.sh")" > "$CASE/files" 2>&1 < /dev/null
'

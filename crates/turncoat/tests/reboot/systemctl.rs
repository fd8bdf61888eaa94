//! init's bus: the image's own `systemctl` asks the stand-in of systemd, and what is asked is done.

use super::*;

/// Both streams of a command, without colours and pager.
fn systemctl(l: &mut Live, what: &str) -> String {
    l.ask(&format!("exec 2>&1; export SYSTEMD_PAGER=cat; {what}"))
}

/// What follows a word in the lines that `systemctl status` prints.
fn field(said: &str, name: &str) -> String {
    let line = said.lines().find_map(|l| l.trim_start().strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {said}"))
        .trim()
        .to_owned()
}

fn has(said: &str, all: &[&str]) {
    for part in all {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
}

#[test]
fn systemctl_sees_the_machine() {
    let mut l = Live::new(&mut snapshot());
    l.run_for(1);
    assert_eq!(systemctl(&mut l, "systemctl is-system-running"), "running\n");
    let ssh = systemctl(&mut l, "systemctl status ssh");
    has(
        &ssh,
        &[
            "● ssh.service - OpenBSD Secure Shell server",
            "Loaded: loaded (/lib/systemd/system/ssh.service; enabled; preset: enabled)",
            "Active: active (running) since ",
            "ExecStartPre=/usr/sbin/sshd -t (code=exited, status=0/SUCCESS)",
            "CGroup: /system.slice/ssh.service",
            "\"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\"",
            "Accepted password for root from 203.0.113.9 port",
        ],
    );
    let pid = field(&ssh, "Main PID:");
    let pid = pid.split(' ').next().unwrap();
    let ps = l.ask(&format!(
        "ps -o comm= -p {pid}; cat /proc/{pid}/cgroup; cat /run/sshd.pid"
    ));
    assert_eq!(ps, format!("sshd\n0::/system.slice/ssh.service\n{pid}\n"));
    has(
        &systemctl(&mut l, "systemctl list-units"),
        &[
            "cron.service",
            "networking.service",
            "session-",
            "multi-user.target",
            "apt-daily.timer",
            "loaded units listed",
        ],
    );
    has(
        &systemctl(&mut l, "systemctl list-timers"),
        &[
            "logrotate.timer",
            "logrotate.service",
            "systemd-tmpfiles-clean.timer",
        ],
    );
    has(
        &systemctl(&mut l, "systemctl list-unit-files"),
        &["ssh.service", "enabled", "static", "unit files listed"],
    );
    assert_eq!(
        systemctl(
            &mut l,
            "systemctl is-active ssh nosuch; systemctl is-enabled ssh getty@tty1 dbus"
        ),
        "active\ninactive\nenabled\nenabled\nstatic\n"
    );
    has(
        &systemctl(&mut l, "systemctl status nosuch; echo $?"),
        &["Unit nosuch.service could not be found.", "\n4\n"],
    );
    has(
        &systemctl(&mut l, "systemctl start nosuch; echo $?"),
        &["Unit nosuch.service not found.", "\n5\n"],
    );
    has(
        &systemctl(&mut l, "systemctl --failed"),
        &["0 loaded units listed."],
    );
    has(
        &systemctl(&mut l, "systemctl status"),
        &["State: running", "init.scope", "session-"],
    );
    assert_eq!(
        systemctl(&mut l, "systemctl show ssh -p MainPID,SubState"),
        format!("MainPID={pid}\nSubState=running\n")
    );
    has(
        &systemctl(&mut l, "systemctl cat cron"),
        &["# /lib/systemd/system/cron.service", "ExecStart="],
    );
    has(
        &systemctl(&mut l, "hostnamectl"),
        &["Static hostname:", "Debian GNU/Linux 12"],
    );
    has(
        &systemctl(&mut l, "timedatectl"),
        &["Time zone:", "NTP service: active"],
    );
    has(&systemctl(&mut l, "loginctl"), &["root", "sessions listed."]);
    // Others than root ask on the system bus, and nobody is there who would let them.
    has(
        &systemctl(
            &mut l,
            "su nobody -s /bin/sh -c 'systemctl is-active cron; systemctl restart cron; echo $?'",
        ),
        &["active\n", "Access denied", "\n4\n"],
    );
}

#[test]
fn services_stop_and_start() {
    let mut l = Live::new(&mut snapshot());
    l.run_for(1);
    let before = l.ask("cat /run/crond.pid");
    assert_eq!(
        systemctl(
            &mut l,
            "systemctl stop cron; echo $?; systemctl is-active cron; pgrep -x cron"
        ),
        "0\ninactive\n"
    );
    has(
        &systemctl(&mut l, "systemctl status cron"),
        &[
            "○ cron.service",
            "Active: inactive (dead) since",
            "Stopped cron.service",
        ],
    );
    assert_eq!(
        systemctl(&mut l, "service cron start; echo $?; systemctl is-active cron"),
        "0\nactive\n"
    );
    let after = l.ask("cat /run/crond.pid");
    assert_ne!(before, after);
    assert_eq!(l.ask("pgrep -x cron"), after);

    // The cover of a test has no host keys, and sshd looks for them before it starts.
    l.ask("ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key");
    let listens = "ss -Hltn sport = :22 | wc -l";
    assert_eq!(l.ask(listens), "2\n");
    assert_eq!(
        systemctl(&mut l, &format!("systemctl stop ssh; {listens}")),
        "0\n"
    );
    let again = systemctl(&mut l, "systemctl restart ssh || { journalctl -n 20; sshd -t; }");
    assert_eq!(again, "");
    assert_eq!(l.ask(listens), "2\n");
    has(
        &systemctl(&mut l, "systemctl status -n 60 ssh"),
        &[
            "active (running)",
            "Server listening on 0.0.0.0 port 22.",
            "Started ssh.service",
        ],
    );
    // What is killed is gone, and init knows.
    assert_eq!(
        systemctl(
            &mut l,
            "pkill -x cron; systemctl is-active cron; systemctl kill -s KILL systemd-timesyncd; sleep 1; systemctl is-active systemd-timesyncd"
        ),
        "inactive\nactive\n"
    );
}

/// What an intruder leaves to stay.
const UNIT: &str = r#"cat > /etc/systemd/system/netd.service <<U
[Unit]
Description=Network helper
After=network.target
[Service]
ExecStart=/tmp/x -k
Restart=always
RestartSec=2
[Install]
WantedBy=multi-user.target
U
mkdir -p /root/.x; printf '#!/bin/sh\necho $$ >> /root/.x/pids\nsleep 100000\n' > /root/.x/x; chmod 755 /root/.x/x; ln -s /root/.x/x /tmp/x
"#;

#[test]
fn an_intruders_unit_stays() {
    let mut snapshot = snapshot();
    let mut l = Live::new(&mut snapshot);
    l.run_for(1);
    l.ask(UNIT);
    l.ask("sed -i s,/tmp/x,/root/.x/x, /etc/systemd/system/netd.service");
    let said = systemctl(
        &mut l,
        "systemctl daemon-reload; systemctl enable --now netd; echo $?",
    );
    assert_eq!(
        said,
        "Created symlink /etc/systemd/system/multi-user.target.wants/netd.service → /etc/systemd/system/netd.service.\n0\n"
    );
    let status = systemctl(&mut l, "systemctl status netd");
    has(
        &status,
        &[
            "Active: active (running)",
            "/system.slice/netd.service",
            "sleep 100000",
            "Started netd.service - Network helper.",
        ],
    );
    let pid = field(&status, "Main PID:");
    let pid = pid.split(' ').next().unwrap().to_owned();
    assert_eq!(l.ask("cat /root/.x/pids").trim(), pid);

    // It comes back when it is killed, and not when it is stopped.
    l.ask(&format!("kill -9 {pid}"));
    has(
        &systemctl(&mut l, "systemctl status netd"),
        &[
            "active (running)",
            "Scheduled restart job, restart counter is at 1.",
        ],
    );
    assert_eq!(l.ask("wc -l < /root/.x/pids"), "2\n");
    assert_eq!(
        systemctl(
            &mut l,
            "systemctl stop netd; systemctl is-active netd; pgrep -f 'sleep 100000'"
        ),
        "inactive\n"
    );

    // He reboots; systemd starts it again.
    l.shown.clear();
    l.open(7, Program::Command(b"systemctl reboot".to_vec()), false);
    l.run_for(3);
    assert!(l.down, "{}", l.shown);
    l.run_for(70);
    assert!(l.world.away().is_none());
    has(
        &systemctl(&mut l, "systemctl status netd"),
        &["; enabled; preset: enabled)", "active (running)"],
    );
    assert_eq!(l.ask("wc -l < /root/.x/pids"), "3\n");
    assert_eq!(
        systemctl(
            &mut l,
            "systemctl disable --now netd; systemctl is-enabled netd; pgrep -f 'sleep 100000'"
        ),
        "Removed \"/etc/systemd/system/multi-user.target.wants/netd.service\".\ndisabled\n"
    );

    // The same once more from the journal.
    l.journal.extend(l.world.seal());
    let reader = Reader::new(&l.journal).unwrap();
    let guest = snapshot.guest(reader.birth().seed);
    let report = Rerun::new(reader, guest).run(&mut |_, _| {});
    assert_eq!(report.ended, Ended::Whole);
}

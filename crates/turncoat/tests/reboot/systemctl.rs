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

/// Timers that an intruder leaves: by the calendar, by spans, and one that nothing is to start.
const TIMERS: &str = r#"cd /etc/systemd/system
printf '[Unit]\nDescription=Collector\n[Service]\nType=oneshot\nExecStart=/bin/sh -c "date +%%%%s >> /root/turns; echo collected"\n' > col.service
printf '[Unit]\nDescription=Collects\n[Timer]\nOnCalendar=*:0/10\nAccuracySec=1us\nPersistent=true\n[Install]\nWantedBy=timers.target\n' > col.timer
printf '[Service]\nExecStart=/bin/sh -c "date +%%%%s >> /root/beats"\n' > beat.service
printf '[Timer]\nOnActiveSec=90\nOnUnitActiveSec=2min\nUnit=beat.service\n[Install]\nWantedBy=timers.target\n' > pulse.timer
printf '[Timer]\nOnBootSec=15min\n[Install]\nWantedBy=timers.target\n' > lost.timer
printf '[Timer]\nUnit=beat.service\n' > empty.timer
systemctl daemon-reload
"#;

fn numbers(said: &str) -> Vec<i64> {
    said.lines().map(|l| l.parse().unwrap()).collect()
}

#[test]
fn an_intruders_timers_fire() {
    let mut snapshot = snapshot();
    let mut l = Live::new(&mut snapshot);
    l.run_for(1);
    l.ask(TIMERS);
    let began = l.now.seconds();
    let said = systemctl(&mut l, "systemctl enable --now col.timer pulse.timer; echo $?");
    has(
        &said,
        &[
            "timers.target.wants/col.timer",
            "timers.target.wants/pulse.timer",
            "\n0\n",
        ],
    );
    let lost = systemctl(
        &mut l,
        "systemctl start lost.timer; echo $?; systemctl start empty.timer; echo $?",
    );
    has(
        &lost,
        &[
            "Job failed. See \"journalctl -xe\" for details.",
            "Unit empty.timer has a bad unit file setting.",
        ],
    );
    let next = (began / 600 + 1) * 600;
    let show = |l: &mut Live, what: &str| {
        systemctl(l, &format!("date +%s -d \"$(systemctl show --value -p {what})\""))
    };
    assert_eq!(
        show(&mut l, "NextElapseUSecRealtime col.timer"),
        format!("{next}\n")
    );
    let listed = systemctl(&mut l, "systemctl list-timers col.timer pulse.timer");
    has(&listed, &["col.service", "beat.service", "2 timers listed."]);
    assert!(
        listed
            .lines()
            .any(|l| l.contains("col.timer") && l.contains(" left ")),
        "{listed}"
    );

    l.run_to(Time((next + 700) * SECOND));
    let turns = numbers(&l.ask("cat /root/turns"));
    assert_eq!(turns.len(), 2, "{turns:?}");
    assert!(
        turns
            .iter()
            .zip([next, next + 600])
            .all(|(t, want)| (*t - want).abs() <= 1),
        "{turns:?} {next}"
    );
    // The first turn of the pulse comes within the accuracy of a minute, then one every two minutes and a bit.
    let beats = numbers(&l.ask("cat /root/beats"));
    let since = l.now.seconds() - began;
    assert!((90..=155).contains(&(beats[0] - began)), "{beats:?} {began}");
    assert!(
        beats.windows(2).all(|w| (120..=181).contains(&(w[1] - w[0]))),
        "{beats:?}"
    );
    assert!(beats.len() as i64 >= (since - 155) / 181, "{beats:?} {since}");
    assert!(
        l.jobs()
            .iter()
            .any(|j| j.0 == "timer" && j.1.contains("/root/turns")),
        "{:?}",
        l.jobs()
    );
    let last = systemctl(
        &mut l,
        "systemctl list-timers col.timer; systemctl status col.timer col",
    );
    has(
        &last,
        &[
            " ago ",
            "Trigger: ",
            "Triggers: ● col.service",
            "TriggeredBy: ● col.timer",
            "Finished col.service - Collector.",
        ],
    );
    assert_eq!(
        show(&mut l, "LastTriggerUSec col.timer"),
        format!("{}\n", turns[1])
    );
    assert_eq!(
        l.ask("ls /var/lib/systemd/timers | grep col"),
        "stamp-col.timer\n"
    );

    // What is stopped fires no more, and what is enabled fires after a reboot.
    systemctl(&mut l, "systemctl stop pulse.timer");
    let before = l.ask("wc -l < /root/beats");
    l.run_for(600);
    assert_eq!(l.ask("wc -l < /root/beats"), before);
    l.open(7, Program::Command(b"systemctl reboot".to_vec()), false);
    l.run_for(3);
    assert!(l.down);
    l.run_for(70);
    let up = l.now.seconds();
    l.run_for(800);
    let turns = numbers(&l.ask("cat /root/turns"));
    assert!(turns.iter().any(|t| *t > up), "{turns:?} {up}");
    let beats = numbers(&l.ask("cat /root/beats"));
    assert!(
        beats.iter().filter(|t| **t > up - 60).count() >= 4,
        "{beats:?} {up}"
    );
    // An idle world wakes up for his timers only.
    systemctl(&mut l, "systemctl disable --now col.timer pulse.timer");
    l.run_for(200);
    assert_eq!(l.world.run(l.now), Wants::Sleep(None));

    l.journal.extend(l.world.seal());
    let reader = Reader::new(&l.journal).unwrap();
    let guest = snapshot.guest(reader.birth().seed);
    let report = Rerun::new(reader, guest).run(&mut |_, _| {});
    assert_eq!(report.ended, Ended::Whole);
}

#[test]
fn what_units_say_is_in_the_journal() {
    let mut l = Live::new(&mut snapshot());
    l.run_for(1);
    l.ask(
        r#"cd /etc/systemd/system
cat > say.service <<'U'
[Service]
ExecStart=/bin/sh -c 'echo one; echo "<3>bad" >&2; echo; printf half; sleep 1; echo " whole"; (echo child); printf unended'
U
cat > file.service <<'U'
[Service]
Type=oneshot
StandardOutput=append:/root/said
StandardError=null
ExecStart=/bin/sh -c 'echo kept; echo lost >&2'
U
cat > flood.service <<'U'
[Service]
Type=oneshot
ExecStart=/usr/bin/seq 12000
U
systemctl daemon-reload"#,
    );
    systemctl(&mut l, "systemctl start say");
    assert_eq!(
        systemctl(&mut l, "journalctl -u say -o cat | grep -v say.service"),
        "one\nbad\nhalf whole\nchild\nunended\n"
    );
    assert_eq!(systemctl(&mut l, "journalctl -u say -p err -o cat"), "bad\n");
    let one = systemctl(&mut l, "journalctl -u say -o json MESSAGE=one");
    for field in [
        r#""_TRANSPORT":"stdout""#,
        r#""SYSLOG_IDENTIFIER":"sh""#,
        r#""_SYSTEMD_UNIT":"say.service""#,
        r#""_COMM":"sh""#,
        r#""PRIORITY":"6""#,
    ] {
        assert!(one.contains(field), "{field}: {one}");
    }
    has(
        &systemctl(&mut l, "systemctl status say"),
        &["]: one", "]: unended", "Active: inactive (dead)"],
    );
    systemctl(
        &mut l,
        "systemctl start file; cd /etc/systemd/system; sed -i s,append:/root/said,null, file.service; systemctl daemon-reload; systemctl start file",
    );
    assert_eq!(l.ask("cat /root/said"), "kept\n");
    // journald hears so much of a unit in thirty seconds, and tells how much it did not.
    systemctl(&mut l, "systemctl start flood");
    l.run_for(40);
    systemctl(&mut l, "systemctl start flood");
    assert_eq!(
        systemctl(
            &mut l,
            "journalctl -o cat -t systemd-journald | grep Suppressed; journalctl -u flood -o cat | grep -c '^10001$'"
        ),
        "Suppressed 2000 messages from flood.service\n0\n"
    );
}

#[test]
fn units_for_one_run() {
    let mut l = Live::new(&mut snapshot());
    l.run_for(1);
    let said = systemctl(
        &mut l,
        "systemd-run --unit=once -p Environment=WHO=me /bin/sh -c 'echo by ${WHO}; pwd; sleep 3'; systemctl is-active once; systemctl status once | head -3",
    );
    has(
        &said,
        &[
            "Running as unit: once.service\nactive\n● once.service - /bin/sh -c ",
            "Loaded: loaded (/run/systemd/transient/once.service; transient)",
        ],
    );
    // It is over, and gone.
    assert_eq!(
        systemctl(
            &mut l,
            "systemctl status once; echo $?; ls /run/systemd/transient"
        ),
        "Unit once.service could not be found.\n4\n"
    );
    assert_eq!(
        systemctl(&mut l, "journalctl -u once -o cat | grep -v once.service"),
        "by me\n/\n"
    );
    let failed = systemctl(
        &mut l,
        "systemd-run /bin/false | cat; sleep 1; systemctl --failed | head -2",
    );
    has(
        &failed,
        &[
            "Running as unit: run-r",
            "● run-r",
            "loaded failed failed /bin/false",
        ],
    );

    let said = systemctl(
        &mut l,
        "systemd-run --on-active=30 --timer-property=AccuracySec=1s --unit=late /usr/bin/touch /root/late; systemctl list-timers late.timer; ls /root/late",
    );
    has(
        &said,
        &[
            "Running timer as unit: late.timer\nWill run service as unit: late.service\n",
            "late.timer late.service",
            "cannot access '/root/late'",
        ],
    );
    l.run_for(40);
    assert_eq!(
        l.ask("ls /root/late /run/systemd/transient | grep -c late"),
        "1\n"
    );
}

#[test]
fn what_somebody_writes_into_the_unit_of_a_daemon_counts() {
    let mut l = Live::new(&mut snapshot());
    l.run_for(1);
    l.ask(
        r#"mkdir -p /etc/systemd/system/cron.service.d /etc/systemd/system/dbus.service.d
printf '[Service]\nExecStartPost=/bin/sh -c "echo post >> /root/post"\n' > /etc/systemd/system/cron.service.d/a.conf
systemctl daemon-reload"#,
    );
    let main = "ps -o args= -p $(systemctl show --value -p MainPID cron)";
    systemctl(&mut l, "systemctl restart cron");
    assert_eq!(
        l.ask(&format!("cat /root/post; {main}")),
        "post\n/usr/sbin/cron -f\n"
    );
    l.ask("printf '[Service]\\nExecStart=\\nExecStart=/bin/sleep 77777\\n' > /etc/systemd/system/cron.service.d/b.conf; systemctl daemon-reload");
    systemctl(&mut l, "systemctl restart cron");
    assert_eq!(l.ask(&format!("{main}; pgrep -x cron")), "/bin/sleep 77777\n");
    l.open(7, Program::Command(b"reboot".to_vec()), false);
    l.run_for(3);
    assert!(l.down);
    l.run_for(70);
    assert_eq!(
        l.ask(&format!("grep -c post /root/post; {main}; pgrep -x cron")),
        "3\n/bin/sleep 77777\n"
    );
    has(
        &systemctl(&mut l, "systemctl status cron ssh"),
        &["active (running)", "sshd: /usr/sbin/sshd"],
    );
}

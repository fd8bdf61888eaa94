//! The sockets of systemd and its daemons, as who lists them sees them.

use super::*;

#[test]
fn what_systemd_and_its_daemons_hold_shows_and_answers() {
    let mut l = Live::new(&mut snapshot());
    l.run_for(1);
    let shown = l.ask("ss -xlpH");
    for (path, kind, who) in [
        ("/run/systemd/private", "u_str", vec!["systemd"]),
        ("/run/systemd/notify", "u_dgr", vec!["systemd"]),
        (
            "/run/systemd/userdb/io.systemd.DynamicUser",
            "u_str",
            vec!["systemd"],
        ),
        ("/run/systemd/io.system.ManagedOOM", "u_str", vec!["systemd"]),
        ("/run/systemd/fsck.progress", "u_str", vec!["systemd"]),
        (
            "/run/systemd/journal/stdout",
            "u_str",
            vec!["systemd", "systemd-journal"],
        ),
        (
            "/run/systemd/journal/socket",
            "u_dgr",
            vec!["systemd", "systemd-journal"],
        ),
        ("/run/udev/control", "u_seq", vec!["systemd", "systemd-udevd"]),
    ] {
        let line = shown.lines().find(|s| s.split_whitespace().any(|w| w == path));
        let line = line.unwrap_or_else(|| panic!("{path}: {shown}"));
        assert!(line.starts_with(kind), "{line}");
        for name in who {
            assert!(line.contains(&format!("(\"{name}\",pid=")), "{line}");
        }
        let inode = l.ask(&format!(
            "awk '$8 == \"{path}\" {{print $7}}' /proc/net/unix; test -S {path} && echo there"
        ));
        assert!(
            inode.ends_with("there\n") && inode.lines().count() == 2,
            "{path}: {inode}"
        );
        assert!(line.contains(inode.lines().next().unwrap()), "{line} {inode}");
    }
    assert_eq!(
        shown.lines().filter(|s| s.contains("LISTEN")).count(),
        7,
        "{shown}"
    );
    // Who asks for a user that is not there is told so, and nobody waits.
    assert_eq!(
        l.ask("id nosuch 2>&1; getent passwd nosuch; echo $?"),
        "id: \u{2018}nosuch\u{2019}: no such user\n2\n"
    );
    assert_eq!(l.ask("echo said | systemd-cat; echo $?"), "0\n");
    // What is started anew has its sockets again.
    l.ask("systemctl restart systemd-udevd systemd-journald");
    let again = l.ask("ss -xlpH");
    let holders =
        |text: &str| text.matches("\"systemd-udevd\"").count() + text.matches("\"systemd-journal\"").count();
    assert_eq!(holders(&again), holders(&shown), "{again}");
}

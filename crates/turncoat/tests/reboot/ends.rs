//! The ways in which somebody ends the machine.

use super::*;
use turncoat_event::kinds;

/// How a machine went down that was told so.
fn down(l: &Live) -> Vec<(String, bool)> {
    let one = |k: &Kind| match k {
        Kind::WorldDown(kinds::WorldDown { how, in_order, .. }) => Some((how.clone(), *in_order)),
        _ => None,
    };
    l.events.iter().filter_map(one).collect()
}

#[test]
fn every_way_to_end_the_machine_ends_it() {
    let mut snapshot = snapshot();
    for (command, how) in [
        ("shutdown -r now", "reboot"),
        ("init 6", "reboot"),
        ("telinit 6", "reboot"),
        ("reboot", "reboot"),
        ("systemctl reboot", "reboot"),
        ("shutdown -h now", "poweroff"),
        ("shutdown now", "poweroff"),
        ("poweroff", "poweroff"),
        ("init 0", "poweroff"),
        ("halt", "halt"),
        ("shutdown -H now", "halt"),
    ] {
        let mut l = Live::new(&mut snapshot);
        l.run_for(1);
        l.open(1, Program::Command(command.as_bytes().to_vec()), false);
        l.run_for(3);
        assert!(l.down, "{command}: {}", l.shown);
        assert_eq!(down(&l), [(how.to_owned(), true)], "{command}");
        let away = l.world.away().unwrap_or_else(|| panic!("{command}"));
        let seconds = away.seconds() - l.now.seconds();
        assert!(
            if how == "reboot" {
                (10..=60).contains(&seconds)
            } else {
                seconds > 500
            },
            "{command}: {seconds}"
        );
        l.run_to(away.plus_nanos(5 * SECOND));
        assert!(l.world.away().is_none(), "{command}");
        assert!(l.ask("uptime -p").starts_with("up "), "{command}");
    }
}

#[test]
fn an_end_at_a_time_is_announced_and_can_be_called_off() {
    let mut l = Live::new(&mut snapshot());
    l.run_for(1);
    l.open(1, Program::Shell, true);
    l.run_for(2);
    l.shown.clear();
    let at = |l: &mut Live, seconds: i64| {
        let t = l.now.seconds() + seconds;
        l.ask(&format!("TZ=$(cat /etc/timezone) date -d @{t} '+%a %F %H:%M'"))
            .trim()
            .to_owned()
    };
    let said = l.ask(
        "exec 2>&1; shutdown -r +1; cat /run/systemd/shutdown/scheduled; ls /run/nologin; shutdown --show",
    );
    // What was told to the other terminal is in it too.
    assert!(said.contains("Broadcast message from root@"), "{said}");
    assert!(said.contains("The system will reboot at "), "{said}");
    assert!(
        said.contains("Reboot scheduled for ") && said.contains(", use 'shutdown -c' to cancel."),
        "{said}"
    );
    assert!(
        said.contains("\nWARN_WALL=1\nMODE=reboot\n") && said.contains("/run/nologin\n"),
        "{said}"
    );
    assert_eq!(said.matches("Reboot scheduled for").count(), 2, "{said}");
    let said =
        l.ask("exec 2>&1; shutdown -c; ls /run/nologin /run/systemd/shutdown/scheduled; shutdown --show");
    assert!(said.contains("System shutdown has been cancelled"), "{said}");
    assert!(
        said.contains("No scheduled shutdown.") && said.matches("No such file").count() == 2,
        "{said}"
    );
    l.run_for(120);
    assert!(!l.down && down(&l).is_empty());

    // Again, and nobody calls it off; users are kept out from five minutes before on.
    let end = at(&mut l, 20 * 60);
    let said = l.ask("exec 2>&1; shutdown +20 'so long'; ls /run/nologin");
    let minute = end.rsplit_once(':').map_or(&*end, |e| e.0);
    assert!(
        said.contains("Shutdown scheduled for ") && said.contains(minute),
        "{said} {end}"
    );
    assert!(said.contains("No such file"), "{said}");
    l.shown.clear();
    l.run_for(16 * 60);
    assert!(
        l.shown.contains("so long\r\nThe system will power off at "),
        "{}",
        l.shown
    );
    assert!(l.ask("cat /run/nologin").starts_with("System is going down."));
    l.run_for(5 * 60);
    assert!(l.down);
    assert_eq!(down(&l), [("poweroff".to_owned(), true)]);
}

//! The machine's nightly job in a world whose intruder was at it.

use super::*;
use turncoat_cover::story::Story;

const DAY: i64 = 86_400;

/// Lines of the job's log, and of cron's calls of it in the journal.
fn told(l: &mut Live, story: &Story) -> (usize, usize) {
    let asked = format!(
        "wc -l < {}; journalctl -q _COMM=cron -o cat | grep -cF 'CMD ({})'",
        story.log, story.command
    );
    let said = l.ask(&asked);
    let mut numbers = said.lines().filter_map(|n| n.trim().parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn the_nightly_job_goes_on_and_what_somebody_changed_of_it_runs() {
    let story = Story::draw(&cover());
    let mut snapshot = snapshot();
    let mut l = Live::new(&mut snapshot);
    l.run_for(1);
    let (lines, calls) = told(&mut l, &story);
    assert!(lines >= 2 && calls >= 1, "{lines} {calls}");
    l.run_for(DAY);
    assert_eq!(told(&mut l, &story), (lines + 2, calls + 1));
    assert_eq!(l.jobs(), vec![], "nothing was really run");

    // A line of his in the script: cron runs it, and what the script did is not told beside.
    l.ask(&format!("sed -i '1aid -u > /root/by-night' {}", story.job_path));
    l.run_for(DAY);
    assert_eq!(l.ask("cat /root/by-night"), "0\n");
    let (_, again) = told(&mut l, &story);
    assert_eq!(again, calls + 2);
    assert_eq!(l.jobs(), vec![("cron".to_owned(), story.command.clone())]);

    // Without its line it does not run at all.
    l.ask("crontab -r; rm -f /root/by-night");
    l.ask(&format!(
        "grep -lF '{}' /etc/cron.d/* | xargs -r rm",
        story.command
    ));
    let before = told(&mut l, &story);
    l.run_for(DAY);
    assert_eq!(told(&mut l, &story), before);
    assert_eq!(l.jobs().len(), 1);

    l.journal.extend(l.world.seal());
    let reader = Reader::new(&l.journal).unwrap();
    let guest = snapshot.guest(reader.birth().seed);
    let report = Rerun::new(reader, guest).run(&mut |_, _| {});
    assert_eq!(report.ended, Ended::Whole);
}

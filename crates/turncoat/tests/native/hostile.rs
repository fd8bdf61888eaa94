//! Programs that want to harm: each runs in a world, is bounded, and the machine answers a second login afterwards, or refuses it as a
//! machine does that can start no process any more.

use turncoat_kernel::World;

use crate::cases::Seen;
use crate::world::{Stage, exec};

/// What must be true when the program was stopped or is over.
struct Hostile {
    name: &'static str,
    script: &'static str,
    /// How long it runs, in the world's time; some never end by themselves.
    seconds: u64,
    /// What its output must hold if it ends by itself; empty: it does not.
    says: &'static str,
}

/// What a machine says that has no room left.
const FULL: &str = "No space left on device";

const PROGRAMS: &[Hostile] = &[
    Hostile {
        name: "fork bomb",
        script: "f() { f | f & }; f 2>/dev/null; sleep 100",
        seconds: 3,
        says: "",
    },
    Hostile {
        name: "memory eater",
        script: "perl -e 'push @a, \"x\" x 4000000 while 1'; echo $?",
        seconds: 300,
        says: "137",
    },
    Hostile {
        name: "a file without end",
        script: "yes yes yes yes yes yes yes yes yes > /tmp/f; ls -s /tmp/f | wc -l",
        seconds: 300,
        says: FULL,
    },
    Hostile {
        name: "zeros for a terminal that nobody reads",
        script: "cat /dev/zero",
        seconds: 2,
        says: "",
    },
    Hostile {
        name: "many files",
        script: "mkdir /tmp/d; cd /tmp/d; perl -e 'for (1..1000000) { open F, \">\", $_ or do { print \"$!\\n\"; last }; close F }'; rm -rf /tmp/d; echo gone",
        seconds: 600,
        says: FULL,
    },
    Hostile {
        name: "deep directories",
        script: "cd /tmp; perl -e 'for (1..30000) { mkdir \"d\" or last; chdir \"d\" or last }'; find /tmp 2>/dev/null | wc -l; pwd; rm -rf /tmp/d; ls /tmp | wc -l",
        seconds: 600,
        says: "/tmp\n0\n",
    },
    Hostile {
        name: "a find that is asked for ever",
        script: "while :; do find / > /dev/null 2>&1; done",
        seconds: 3,
        says: "",
    },
    Hostile {
        name: "64 busy processes",
        script: "for i in $(seq 64); do (while :; do :; done) & done; wait",
        seconds: 3,
        says: "",
    },
    Hostile {
        name: "a storm of signals",
        script: "perl -e '$SIG{USR1} = sub { $n++ }; if (!($p = fork)) { kill \"USR1\", getppid for 1..20000; exit } 1 while waitpid($p, 0) < 0; print $n > 0 ? \"alive\\n\" : \"none\\n\"'",
        seconds: 120,
        says: "alive",
    },
    Hostile {
        name: "huge mappings",
        script: "perl -e '$a = syscall(9, 0, 1 << 44, 3, 0x4022, -1, 0); print $a > 0 ? \"mapped\\n\" : \"refused\\n\"; print syscall(11, $a, 1 << 44), \"\\n\"; print syscall(11, 4096, 0x7fff00000000), \"\\n\"' ; echo after",
        seconds: 60,
        says: "after",
    },
    Hostile {
        name: "a pipe that nobody reads",
        script: "yes | sleep 100",
        seconds: 3,
        says: "",
    },
    Hostile {
        name: "code that writes itself",
        // At each of 20,000 turns it raises the operand of its next instruction (MOV AL), whose last value is its exit status.
        script: concat!(
            "cd /tmp; perl -e '$c = pack(\"H*\", \"b9204e0000fe0501000000b000ffc975f40fb6f8b83c0000000f05\"); open O, \">w\"; ",
            "print O pack(\"H*vvVQQQVvvvvvv\", \"7f454c46020101\" . \"00\" x 9, 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0), ",
            "pack(\"VVQQQQQQ\", 1, 7, 0, 0x400000, 0x400000, 0x2000, 0x2000, 4096), $c, \"\\0\" x (0x2000 - 120 - length $c)'; ",
            "chmod +x w; ./w; echo status $?"
        ),
        seconds: 3,
        says: "status 32",
    },
    Hostile {
        name: "a page that is another program from each of its bytes",
        // It calls 4,000 offsets in a row of bytes that are ADD EAX, 0x05050505 from wherever one begins.
        script: concat!(
            "cd /tmp; perl -e '$c = pack(\"H*\", \"31db488dbb00104000ffd7ffc381fba00f00007ced31ffb83c0000000f05\"); open O, \">o\"; ",
            "print O pack(\"H*vvVQQQVvvvvvv\", \"7f454c46020101\" . \"00\" x 9, 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0), ",
            "pack(\"VVQQQQQQ\", 1, 5, 0, 0x400000, 0x400000, 0x2000, 0x2000, 4096), $c, \"\\0\" x (0x1000 - 120 - length $c), ",
            "\"\\5\" x 4000, \"\\xc3\" x 96'; chmod +x o; ./o; echo status $?"
        ),
        seconds: 3,
        says: "status 0",
    },
    Hostile {
        name: "System V objects without end",
        script: concat!(
            "perl -e '1 while defined semget 0, 32000, 01600; print \"$!\\n\"; for (1 .. 40) { ($q = msgget 0, 01600) // last; 1 while msgsnd $q, pack(\"l! a*\", 1, \"x\" x 8000), 04000 } ",
            "1 while defined shmget 0, 1 << 30, 011600; print \"$!\\n\"'; ipcs -u | grep -c allocated; ipcs | wc -l | tr 0-9 N"
        ),
        seconds: 3,
        says: "Cannot allocate memory\nCannot allocate memory\n",
    },
    Hostile {
        name: "segments that are filled and left",
        script: "perl -e 'while (1) { $s = shmget(0, 32 << 20, 01600) // last; shmwrite $s, \"x\" x (32 << 20), 0, 32 << 20 }'; echo $?; ipcs -m | grep -c 33554432 | tr 0-9 N; ipcrm --all=shm; ipcs -m | wc -l",
        seconds: 60,
        says: "137\nN\n4\n",
    },
    Hostile {
        name: "broken programs",
        script: "cd /tmp; perl -e 'open F, \"/bin/true\"; binmode F; local $/; $t = <F>; srand 7; for $i (1..60) { $b = $t; for (1..1 + rand 6) { substr($b, int rand($i % 2 ? 64 : 900), 1) = chr int rand 256 } open O, \">p\"; print O $b; close O; chmod 0755, \"p\"; system(\"timeout -s KILL 2 ./p > /dev/null 2>&1\"); unlink \"p\" } print \"tried\\n\"'; printf '#!/tmp/s\\n' > s; chmod +x s; ./s; echo $?; printf '#!' > s; ./s; echo $?; perl -e 'print \"#!\", \"/\" x 5000' > s; ./s; echo ended",
        seconds: 300,
        says: "ended",
    },
];

fn second(world: &mut World) -> String {
    let mut seen = Seen::default();
    exec(world, "echo ok", None, Some(60), &mut seen);
    String::from_utf8_lossy(&[seen.out, seen.err].concat()).into_owned()
}

/// Runs them; gives what went wrong. The ordinary run has those that end by the clock; `HOSTILE=all` adds those that work until something is
/// full, which take many minutes without optimisation.
pub fn run(stage: &mut Stage) -> Vec<String> {
    let mut wrong = Vec::new();
    let all = std::env::var_os("HOSTILE").is_some();
    for h in PROGRAMS.iter().filter(|h| all || h.seconds <= 3) {
        let mut world = stage.fork();
        let mut seen = Seen::default();
        exec(&mut world, h.script, None, Some(h.seconds), &mut seen);
        let text = String::from_utf8_lossy(&[&seen.out[..], &seen.err[..]].concat()).into_owned();
        if !text.contains(h.says) {
            let tail: String = text.chars().rev().take(300).collect();
            wrong.push(format!(
                "{}: said {:?}",
                h.name,
                tail.chars().rev().collect::<String>()
            ));
        }
        // 256 MiB of processes and as much of files, and what of the last slice was not accounted for yet.
        let memory = world.memory() >> 20;
        if memory > 640 {
            wrong.push(format!("{}: holds {memory} MiB", h.name));
        }
        let answer = second(&mut world);
        // What is left of a fork bomb keeps every process number: sshd cannot fork.
        let crowded = h.name == "fork bomb" && answer.starts_with("(refused: EAGAIN");
        if answer != "ok\n" && !crowded {
            wrong.push(format!("{}: a second login hears {answer:?}", h.name));
        }
    }
    wrong
}

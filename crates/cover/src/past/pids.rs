//! Which numbers processes have: the kernel's counter goes on with everything that runs, also on a machine that nobody touches.

/// What had been started by the end of a boot, threads of the kernel among them.
const BOOTED: u32 = 1_000;
/// What the counter may have come to before it begins again: below `pid_max` on a 64-bit machine.
const MOST: i64 = 4_000_000;

/// The number that a process gets which starts at `at` on a machine that nobody uses, up since `booted`; both in seconds since the
/// epoch. Something is started every 20 to 28 seconds, on each boot at a rate of its own.
pub fn at(booted: i64, at: i64) -> u32 {
    let pace = 20 + booted.rem_euclid(9);
    BOOTED + ((at - booted).max(0) / pace % MOST) as u32
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_rise_and_two_minutes_never_share_one() {
        for booted in 1_700_000_000..1_700_000_009 {
            let pids: Vec<u32> = (0..5_000).map(|n| super::at(booted, booted + n * 60)).collect();
            assert!(pids.windows(2).all(|w| w[1] >= w[0] + 2), "{booted}");
        }
    }
}

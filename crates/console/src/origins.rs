//! Where sources are: countries and networks, counted, by the operator's table. Nothing is asked over a network.

use std::collections::HashMap;
use std::net::IpAddr;

use turncoat_intel::networks::Networks;
use turncoat_intel::{CampaignId, view};
use turncoat_store::{Reader, Result};

use crate::tally::Counted;

/// Sources of one campaign that are looked up.
const SOURCES: usize = 1_000;

/// Rows of one list.
const ROWS: usize = 10;

/// Sources by country, and by network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Countries, two letters, most first.
    pub countries: Vec<Counted>,
    /// Networks by their number, `AS64500`, with their holders, most first.
    pub networks: Vec<Counted>,
}

/// Counts where these sources are; each comes with how often it is to be counted.
pub fn count(networks: &Networks, sources: impl Iterator<Item = (IpAddr, u64)>) -> Origins {
    let mut countries: HashMap<String, (Option<String>, u64)> = HashMap::new();
    let mut systems: HashMap<String, (Option<String>, u64)> = HashMap::new();
    for (address, n) in sources {
        let of = networks.of(address);
        if let Some(country) = of.country {
            countries.entry(country).or_default().1 += n;
        }
        if let Some(asn) = of.asn {
            let row = systems.entry(format!("AS{asn}")).or_insert((of.holder, 0));
            row.1 += n;
        }
    }
    Origins {
        countries: most(countries),
        networks: most(systems),
    }
}

fn most(counts: HashMap<String, (Option<String>, u64)>) -> Vec<Counted> {
    let mut all: Vec<Counted> = counts
        .into_iter()
        .map(|(name, (about, count))| Counted { name, about, count })
        .collect();
    all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    all.truncate(ROWS);
    all
}

/// Where the sessions of a campaign come from. Empty where there is no table.
///
/// # Errors
/// What the record says.
pub fn of_campaign(networks: &Networks, reader: &Reader, id: CampaignId) -> Result<Origins> {
    if networks.is_empty() {
        return Ok(Origins::default());
    }
    let sources = view::by_source(reader.database(), id, SOURCES)?;
    Ok(count(networks, sources.into_iter()))
}

/// The names in a few words: `SE, DE`.
pub fn names(rows: &[Counted]) -> String {
    let names: Vec<&str> = rows.iter().take(3).map(|c| c.name.as_str()).collect();
    let more = if rows.len() > names.len() { " \u{2026}" } else { "" };
    names.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_counted_by_country_and_network() {
        let mut networks = Networks::default();
        networks
            .read("c", "192.0.2.0,192.0.2.255,SE\n198.51.100.0,198.51.100.255,DE\n")
            .unwrap();
        networks
            .read("n", "192.0.2.0,192.0.2.127,64500,\"One\"\n")
            .unwrap();
        let sources = [
            ("192.0.2.1", 2),
            ("192.0.2.200", 5),
            ("198.51.100.9", 4),
            ("203.0.113.1", 9),
        ];
        let seen = count(&networks, sources.iter().map(|(a, n)| (a.parse().unwrap(), *n)));
        let rows = |list: &[Counted]| list.iter().map(|c| (c.name.clone(), c.count)).collect::<Vec<_>>();
        assert_eq!(rows(&seen.countries), [("SE".into(), 7), ("DE".into(), 4)]);
        assert_eq!(rows(&seen.networks), [("AS64500".into(), 2)]);
        assert_eq!(seen.networks[0].about.as_deref(), Some("One"));
        assert_eq!(names(&seen.countries), "SE, DE");
    }
}

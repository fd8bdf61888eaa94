//! What the operator sees when everything has started.

use super::Supervisor;

impl Supervisor {
    /// What the operator sees: ten lines or fewer.
    pub(super) fn greet(&self) {
        let mut lines = vec![format!(
            "Turncoat {} meets intruders. Ctrl-C ends it.",
            env!("CARGO_PKG_VERSION")
        )];
        for l in &self.listeners {
            lines.push(format!("  listens   {}", l.shown));
        }
        lines.truncate(5);
        let settings = &self.plan.settings;
        let tries = [
            ("ssh", settings.ssh.listen.first()),
            ("telnet", settings.telnet.listen.first()),
        ];
        let tried = tries.into_iter().find_map(|(decoy, at)| Some((decoy, at?)));
        if let (Some(machine), Some((decoy, at))) = (&self.machine, tried) {
            if let Ok(cover) = machine.cover(&self.seed) {
                lines.push(format!(
                    "  shows     {}, a {} with Debian {}",
                    cover.host.fqdn(),
                    cover.role,
                    turncoat_cover::Release::current().number
                ));
            }
            let here = match at.ip() {
                ip if !ip.is_unspecified() => ip,
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            let how = crate::process::decoys::how_to_log_in(&self.plan.settings, &self.seed, here);
            // The port that was really bound, also where none was named.
            let port = self
                .listeners
                .iter()
                .find(|l| l.decoy == decoy)
                .and_then(|l| l.shown.rsplit_once(':')?.1.parse().ok())
                .unwrap_or(at.port());
            let call = match decoy {
                "ssh" => format!("ssh -p {port} root@{here}"),
                _ => format!("telnet {here} {port}"),
            };
            lines.push(format!("  try       {call}   ({how})"));
        }
        if let (Some(page), Some(link)) = (self.pages.first(), &self.told_link) {
            let scheme = if self.console.tls.is_some() {
                "https"
            } else {
                "http"
            };
            lines.push(format!(
                "  console   {scheme}://{}/in/{link}   (works once)",
                page.shown
            ));
        }
        lines.push(format!("  record    {}", self.plan.layout.database().display()));
        lines.push("  look      turncoat sessions, turncoat events --follow, turncoat status".into());
        let missing = self.missing();
        if !missing.is_empty() {
            lines.push(format!("  confined  not fully: {}", missing.join("; ")));
        }
        println!("{}", lines.join("\n"));
        self.tell_facts();
    }

    fn missing(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .processes
            .values()
            .flat_map(|p| p.missing.iter().cloned())
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

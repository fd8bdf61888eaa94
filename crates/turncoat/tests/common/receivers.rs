//! Servers that take alerts: mail over STARTTLS and TLS (aiosmtpd), and a web address over HTTPS.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

/// The Python that has aiosmtpd: the one of the distribution.
const PYTHON: &str = "/usr/bin/python3";

/// The receivers: started, stopped and started again on the same ports.
pub struct Receivers {
    pub dir: PathBuf,
    pub ports: Vec<u16>,
    child: Option<Child>,
}

impl Receivers {
    pub fn new(name: &str) -> Receivers {
        let dir = std::env::temp_dir().join(format!("turncoat-receive-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("taken")).unwrap();
        // An authority of our own, and a certificate for localhost that it signed.
        let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=an authority' -keyout ca.key -out ca.pem
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout key.pem -out request.pem
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > names
            openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
        let made = Command::new("sh")
            .args(["-ec", script])
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "openssl (package openssl) is needed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut it = Receivers {
            dir,
            ports: vec![0, 0, 0],
            child: None,
        };
        it.start();
        it
    }

    pub fn start(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receivers/receive.py");
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let mut child = Command::new(PYTHON)
            .arg(script)
            .args([
                self.dir.join("taken"),
                self.dir.join("cert.pem"),
                self.dir.join("key.pem"),
            ])
            .env("PORTS", ports.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        self.ports = line.split_whitespace().map(|p| p.parse().unwrap()).collect();
        assert_eq!(
            self.ports.len(),
            3,
            "aiosmtpd (package python3-aiosmtpd) is needed"
        );
        self.child = Some(child);
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn taken(&self, kind: &str) -> Vec<Json> {
        let mut files: Vec<_> = std::fs::read_dir(self.dir.join("taken"))
            .unwrap()
            .flatten()
            .map(|e| e.path())
            .filter(|p| {
                let name = p.file_name().unwrap().to_string_lossy().into_owned();
                name.starts_with(kind) && name.ends_with(".json")
            })
            .collect();
        files.sort();
        files
            .iter()
            .map(|f| serde_json::from_slice(&std::fs::read(f).unwrap()).unwrap())
            .collect()
    }

    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("TURNCOAT_ALERT_CA", self.dir.join("ca.pem").display().to_string()),
            (
                "TURNCOAT_ALERT_MAIL_SERVER",
                format!("smtp://localhost:{}", self.ports[0]),
            ),
            ("TURNCOAT_ALERT_MAIL_USER", "turncoat".into()),
            ("TURNCOAT_ALERT_MAIL_PASSWORD", "secret".into()),
            ("TURNCOAT_ALERT_MAIL_FROM", "turncoat@example.org".into()),
            (
                "TURNCOAT_ALERT_MAIL_TO",
                "[\"soc@example.org\", \"night@example.org\"]".into(),
            ),
            (
                "TURNCOAT_ALERT_WEBHOOK_URL",
                format!("https://localhost:{}/hook?x=1", self.ports[2]),
            ),
            ("TURNCOAT_ALERT_WEBHOOK_TOKEN", "letmein".into()),
        ]
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

//! `docs/instructions.md`, generated from the table of forms.

use crate::forms::{Coverage, forms};
use std::collections::BTreeMap;
use std::fmt::Write as _;

fn generated() -> String {
    let forms = forms();
    let compared = forms.iter().filter(|f| f.1 == Coverage::Compared).count();
    let mut out = format!(
        "# Instructions\n\n\
        Generated from the table in `crates/cpu/tests/differential/forms.rs`; do not edit. `TURNCOAT_BLESS=1 cargo test -p\n\
        turncoat-cpu --test differential document` writes it anew.\n\n\
        Every form of 64-bit mode that belongs to x86-64-v2 with AES, PCLMULQDQ, MMX and x87: {} forms, of which {compared}\n\
        are compared with a real processor by the differential test and {} are not, for the reason given.\n\n\
        ## Compared\n\n| mnemonic | forms |\n| --- | --- |\n",
        forms.len(),
        forms.len() - compared
    );
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut others: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (code, coverage) in &forms {
        let text = code.op_code().instruction_string().replace('|', "\\|");
        match coverage {
            Coverage::Compared => {
                rows.entry(format!("{:?}", code.mnemonic()).to_lowercase())
                    .or_default()
                    .push(format!("`{text}`"));
            }
            Coverage::Not(why) => others.entry(why).or_default().push(format!("`{text}`")),
        }
    }
    for (mnemonic, mut forms) in rows {
        forms.dedup();
        let _ = writeln!(out, "| {mnemonic} | {} |", forms.join(", "));
    }
    out.push_str("\n## Not compared\n\n| reason | forms |\n| --- | --- |\n");
    for (why, mut forms) in others {
        forms.dedup();
        let _ = writeln!(out, "| {why} | {} |", forms.join(", "));
    }
    out
}

#[test]
fn document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/instructions.md");
    let wanted = generated();
    if std::env::var_os("TURNCOAT_BLESS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
            .expect("docs can be made");
        std::fs::write(path, &wanted).expect("the document can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/instructions.md is stale: run this test with TURNCOAT_BLESS=1"
    );
}

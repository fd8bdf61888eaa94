//! Any bytes as a query or a form of the console, as a path, and as the question that the search understands.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turncoat_console::call::{Fields, decode, encode};
use turncoat_console::{routes, search};

fuzz_target!(|bytes: &[u8]| {
    let fields = Fields::parse(bytes);
    let again = Fields::parse(fields.without(&[]).as_bytes());
    assert_eq!(again.without(&[]), fields.without(&[]));
    let _ = search::asked(&fields);
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(decode(encode(&text).as_bytes(), true), text);
    let _ = routes::find(&hyper::Method::GET, &text);
    let mut question = b"q=".to_vec();
    question.extend(encode(&text).bytes());
    let _ = search::asked(&Fields::parse(&question));
});

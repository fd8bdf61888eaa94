//! The OpenAPI document, and the table of routes for people: both from [`crate::routes::ROUTES`].

use std::fmt::Write;

use hyper::Method;
use serde_json::{Map, Value as Json, json};

use crate::guard::Access;
use crate::routes::{Gives, ROUTES, Route};
use crate::shapes;

/// Names in braces.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|p| p.strip_prefix('{').and_then(|p| p.strip_suffix('}')))
}

fn operation(route: &Route) -> Json {
    let mut parameters: Vec<Json> = parts(route.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    for field in route.takes {
        parameters.push(json!({
            "name": field.name, "in": "query", "required": false, "description": field.about, "schema": {"type": "string"},
        }));
    }
    let content = match route.gives {
        Gives::Json(name) => {
            json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}})
        }
        Gives::Stream => json!({"text/event-stream": {"schema": {"type": "string"}}}),
        Gives::Text(kind) => json!({kind: {"schema": {"type": "string"}}}),
        Gives::Download(kinds) => {
            let all: Map<String, Json> = kinds
                .split("; ")
                .map(|k| {
                    (
                        k.to_owned(),
                        json!({"schema": {"type": "string", "format": "binary"}}),
                    )
                })
                .collect();
            Json::Object(all)
        }
        Gives::Page | Gives::Asset | Gives::Goto => json!({"text/html": {"schema": {"type": "string"}}}),
    };
    let security = match route.access {
        Access::Anybody => json!([]),
        Access::Operator => json!([{"login": []}]),
        Access::Token | Access::Metrics => json!([{"login": []}, {"token": []}]),
        Access::Feed => json!([{"login": []}, {"token": []}, {"feed": []}]),
    };
    json!({
        "summary": route.about,
        "parameters": parameters,
        "security": security,
        "responses": {
            "200": {"description": "the answer", "content": content},
            "default": {"description": "why there is none", "content": {"application/json": {"schema": {
                "type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"],
            }}}},
        },
    })
}

/// The routes that programs use.
fn for_programs(route: &Route) -> bool {
    route.method == Method::GET
        && matches!(
            route.gives,
            Gives::Json(_) | Gives::Text(_) | Gives::Stream | Gives::Download(_)
        )
}

/// The document.
pub fn document(version: &str) -> Json {
    let mut paths = Map::new();
    for route in ROUTES.iter().filter(|r| for_programs(r)) {
        paths.insert(route.path.to_owned(), json!({"get": operation(route)}));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Turncoat", "version": version,
            "description": "What the console's pages show, for programs. Text of outsiders is in it as it came, never escaped.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": shapes::schemas(),
            "securitySchemes": {
                "login": {"type": "apiKey", "in": "cookie", "name": "turncoat-PORT", "description": "a login in the browser"},
                "token": {"type": "http", "scheme": "bearer", "description": "console.token"},
                "feed": {"type": "apiKey", "in": "query", "name": "token", "description": "console.feed_token"},
            },
        },
    })
}

/// The table of routes as Markdown.
pub fn table() -> String {
    let mut out = String::from("| route | what | fields | whom it answers |\n| --- | --- | --- | --- |\n");
    for route in ROUTES {
        let fields: Vec<String> = route.takes.iter().map(|f| format!("`{}`", f.name)).collect();
        let _ = writeln!(
            out,
            "| `{} {}` | {} | {} | {} |",
            route.method,
            route.path,
            route.about,
            fields.join(" "),
            route.access.words()
        );
    }
    out
}

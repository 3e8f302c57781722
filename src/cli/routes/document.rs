//! An OpenAPI document, read as far as a route map needs it: operations, where they stand, what they ask for.
//!
//! What is not understood, and what has to be chosen, is noted and never passed over. Never here: our own form of it.

use http::Method;

use super::tree::Tree;

/// The most operations of a document.
const MOST_OPERATIONS: usize = 50_000;
/// How many `$ref` may follow one another.
const MOST_HOPS: usize = 32;

const METHODS: &[(&str, Method)] = &[
    ("get", Method::GET),
    ("head", Method::HEAD),
    ("post", Method::POST),
    ("put", Method::PUT),
    ("patch", Method::PATCH),
    ("delete", Method::DELETE),
    ("options", Method::OPTIONS),
    ("trace", Method::TRACE),
];

/// Keys of a path item that say nothing about which requests there are.
const BESIDE: &[&str] = &["summary", "description", "servers", "parameters", "$ref"];

/// Something that a person has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// Where: keys from the outside in.
    pub(super) at: String,
    pub(super) what: String,
}

/// What an operation asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Security {
    /// Nothing is declared anywhere.
    Silent,
    /// Explicitly nothing.
    Nobody,
    /// A login, with these scopes.
    Scopes(Vec<String>),
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) method: Method,
    /// Base and path, as the document writes them.
    pub(super) path: String,
    pub(super) id: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) deprecated: bool,
    pub(super) security: Security,
}

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) title: String,
    pub(super) openapi: String,
    pub(super) operations: Vec<Operation>,
    pub(super) notes: Vec<Note>,
}

struct Reader<'t> {
    root: &'t Tree,
    /// The base that the command line gives; else the servers' own.
    base: Option<&'t str>,
    notes: Vec<Note>,
}

/// Reads a document. `base` takes the place of what its servers say.
pub(super) fn read(root: &Tree, base: Option<&str>) -> Result<Document, String> {
    let version = match (root.get("openapi").and_then(Tree::text), root.get("swagger")) {
        (Some(version), _) if version.starts_with("3.0.") || version.starts_with("3.1.") => version,
        (Some(version), _) => {
            return Err(format!("it is OpenAPI `{}`; 3.0 and 3.1 are read here", super::plain(version)));
        }
        (None, Some(_)) => {
            return Err(
                "it is Swagger 2; convert it to OpenAPI 3.0 first, e.g. with swagger2openapi".to_owned()
            );
        }
        (None, None) => return Err("it has no key `openapi`, so it is no OpenAPI document".to_owned()),
    };
    let mut reader = Reader { root, base, notes: Vec::new() };
    let title =
        root.get("info").and_then(|info| info.get("title")).and_then(Tree::text).unwrap_or("untitled");
    let own = reader.base_of(root, "servers", None);
    if root.get("webhooks").is_some_and(|hooks| !hooks.entries().is_empty()) {
        reader.note("webhooks", "these are requests that the application sends, so they are not mapped");
    }
    let paths = match root.get("paths") {
        Some(paths @ Tree::Map(_)) => paths.entries(),
        Some(_) => return Err("its `paths` is no mapping".to_owned()),
        None => &[],
    };
    let mut operations = Vec::new();
    for (path, item) in paths {
        if path.starts_with("x-") {
            continue;
        }
        reader.item(path, item, own.as_deref().unwrap_or_default(), &mut operations);
        if operations.len() > MOST_OPERATIONS {
            return Err(format!("it has more than {MOST_OPERATIONS} operations"));
        }
    }
    if operations.is_empty() {
        reader.note("paths", "the document has no operation");
    }
    Ok(Document { title: title.to_owned(), openapi: version.to_owned(), operations, notes: reader.notes })
}

impl<'t> Reader<'t> {
    fn note(&mut self, at: &str, what: impl Into<String>) {
        self.notes.push(Note { at: super::plain(at), what: what.into() });
    }

    /// Follows references; notes those that lead nowhere, outside, or in a circle.
    fn follow(&mut self, at: &str, mut tree: &'t Tree) -> Option<&'t Tree> {
        for _ in 0..MOST_HOPS {
            let Some(target) = tree.get("$ref") else { return Some(tree) };
            let Some(target) = target.text() else {
                self.note(at, "its `$ref` is no text");
                return None;
            };
            let Some(pointer) = target.strip_prefix('#') else {
                let what = format!(
                    "`{}` leads into another document, which is not read; bundle the document first",
                    super::plain(target)
                );
                self.note(at, what);
                return None;
            };
            let mut found = Some(self.root);
            for key in pointer.split('/').skip(1) {
                let key = percent(key).replace("~1", "/").replace("~0", "~");
                found = found.and_then(|tree| match tree {
                    Tree::List(items) => key.parse::<usize>().ok().and_then(|number| items.get(number)),
                    other => other.get(&key),
                });
            }
            match found {
                Some(found) => tree = found,
                None => {
                    self.note(at, format!("`{}` leads nowhere", super::plain(target)));
                    return None;
                }
            }
        }
        self.note(at, "its `$ref` lead in a circle, or further than is followed");
        None
    }

    fn item(&mut self, path: &str, item: &'t Tree, base: &str, operations: &mut Vec<Operation>) {
        let at = format!("paths {path}");
        if item.get("$ref").is_some() && item.entries().len() > 1 {
            self.note(&at, "what stands beside its `$ref` is not read");
        }
        let Some(item) = self.follow(&at, item) else { return };
        if !matches!(item, Tree::Map(_)) {
            self.note(&at, "this is no mapping");
            return;
        }
        let base = self.base_of(item, &at, Some(base)).unwrap_or_else(|| base.to_owned());
        for (key, operation) in item.entries() {
            if key.starts_with("x-") || BESIDE.contains(&key.as_str()) {
                continue;
            }
            let Some((_, method)) = METHODS.iter().find(|(name, _)| name == key) else {
                self.note(&at, format!("`{}` is no method that is known here", super::plain(key)));
                continue;
            };
            let at = format!("{at} {key}");
            let Some(operation) = self.follow(&at, operation) else { continue };
            if !matches!(operation, Tree::Map(_)) {
                self.note(&at, "this is no mapping");
                continue;
            }
            let base = self.base_of(operation, &at, Some(&base)).unwrap_or_else(|| base.clone());
            let text = |key: &str| operation.get(key).and_then(Tree::text).map(str::to_owned);
            let tags = operation.get("tags").map(Tree::items).unwrap_or_default();
            operations.push(Operation {
                method: method.clone(),
                path: format!("{base}{path}"),
                id: text("operationId"),
                tag: tags.iter().find_map(Tree::text).map(str::to_owned),
                deprecated: operation.get("deprecated") == Some(&Tree::Bool(true)),
                security: self.security(&at, operation),
            });
        }
    }

    fn security(&mut self, at: &str, operation: &Tree) -> Security {
        let Some(list) = operation.get("security").or_else(|| self.root.get("security")) else {
            return Security::Silent;
        };
        let Tree::List(alternatives) = list else {
            self.note(at, "its `security` is no list; taken for a login without scopes");
            return Security::Scopes(Vec::new());
        };
        let scopes = |alternative: &Tree| -> Vec<String> {
            let lists = alternative.entries().iter().flat_map(|(_, scopes)| scopes.items());
            lists.filter_map(Tree::text).map(str::to_owned).collect()
        };
        let (open, asking): (Vec<&Tree>, Vec<&Tree>) =
            alternatives.iter().partition(|alternative| alternative.entries().is_empty());
        let Some(first) = asking.first() else { return Security::Nobody };
        if !open.is_empty() {
            self.note(at, "a login is optional here; taken for needed");
        }
        if asking.iter().any(|other| scopes(other) != scopes(first)) {
            self.note(at, "there are alternatives with different scopes; the first one is taken");
        }
        Security::Scopes(scopes(first))
    }

    /// The path of the servers that a part of the document names, if it names any.
    fn base_of(&mut self, tree: &Tree, at: &str, outer: Option<&str>) -> Option<String> {
        if let Some(base) = self.base {
            return outer.is_none().then(|| base.trim_end_matches('/').to_owned());
        }
        let servers = tree.get("servers")?.items();
        let bases: Vec<Option<String>> = servers.iter().map(base_path).collect();
        let mut good: Vec<&String> = bases.iter().flatten().collect();
        if good.len() < bases.len() {
            self.note(
                at,
                "the address of a server cannot be read; give the path before all others with `--base`",
            );
        }
        good.dedup();
        let first = (*good.first()?).clone();
        if good.len() > 1 {
            let all: Vec<String> = good.iter().map(|base| format!("`{}`", super::plain(base))).collect();
            let what = format!(
                "the servers differ in their paths ({}); the first is taken, `--base` says another",
                all.join(", ")
            );
            self.note(at, what);
        }
        let variable = servers.first().is_some_and(|server| {
            server.get("url").and_then(Tree::text).is_some_and(|url| url.contains('{'))
        });
        if variable {
            self.note(at, "the server's address has variables; their defaults are taken");
        }
        Some(first)
    }
}

/// The path of a server's address, without a slash at its end, variables replaced by their defaults.
fn base_path(server: &Tree) -> Option<String> {
    let mut url = server.get("url")?.text()?.to_owned();
    for (name, variable) in server.get("variables").map(Tree::entries).unwrap_or_default() {
        let default = variable.get("default").and_then(Tree::text)?;
        url = url.replace(&format!("{{{name}}}"), default);
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
        None => url.as_str(),
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    (path.is_empty() || path.starts_with('/')).then(|| path.to_owned())
}

/// Undoes percent-encoding of a pointer, as fragments have it.
fn percent(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let pair = (ahead.next().and_then(hex), ahead.next().and_then(hex));
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                out.push(high << 4 | low);
                bytes = ahead;
            }
            (other, _) => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

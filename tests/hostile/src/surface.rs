//! The public surface of the crate, read from its sources: what the table of entries must name.

use quote::ToTokens;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use syn::{
    Attribute, Fields, FnArg, ImplItem, Item, ItemImpl, ItemMod, ReturnType, Signature, TraitItem, Type, UseTree,
    Visibility,
};

/// Traits whose implementations run on values of a caller, or build a value from them.
const TRAITS: &[&str] = &[
    "Layer",
    "Cell",
    "Activation",
    "Initializer",
    "Loss",
    "GradientTransform",
    "GradientMonitor",
    "Rule",
    "From",
    "TryFrom",
    "FromStr",
    "FromIterator",
    "Arbitrary",
];

/// One public item that takes values of a caller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// `module::Type::function`, `module::function`, `module::Type: Trait` or `module::Type {}`.
    pub name: String,
    /// The signature, to read.
    pub signature: String,
    /// Whether its documentation has a section `# Panics`.
    pub panics: bool,
}

#[derive(Default)]
struct Surface {
    /// Types by name, with the module that is their public home, and whether they are reachable.
    types: BTreeMap<String, Vec<Declared>>,
    impls: Vec<(Vec<String>, ItemImpl)>,
    functions: Vec<(Vec<String>, Signature, bool)>,
    traits: Vec<(Vec<String>, syn::ItemTrait)>,
    /// Names that a `pub use` brings to a public module: the module and the name.
    exported: BTreeSet<(Vec<String>, String)>,
    /// Whether each module is public all the way.
    open: BTreeMap<Vec<String>, bool>,
}

struct Declared {
    module: Vec<String>,
    literal: Option<String>,
    reads: bool,
}

/// All points of the crate whose sources lie in `root`.
pub fn points(root: &Path) -> Vec<Point> {
    let mut surface = Surface::default();
    surface.open.insert(Vec::new(), true);
    surface.file(&root.join("lib.rs"), root, &[]);
    surface.points()
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.to_token_stream().to_string();
        text.contains("cfg (test)") || text.contains("cfg (all (test") || text.contains("doc (hidden)")
    })
}

fn derives(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| attribute.to_token_stream().to_string().contains(name))
}

fn announces(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.to_token_stream().to_string().contains("# Panics"))
}

fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}

impl Surface {
    fn file(&mut self, file: &Path, children: &Path, module: &[String]) {
        let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&source).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.items(parsed.items, children, module);
    }

    fn module(&mut self, item: ItemMod, children: &Path, module: &[String]) {
        let name = item.ident.to_string();
        let mut inner = module.to_vec();
        inner.push(name.clone());
        let open = is_public(&item.vis) && self.open[module];
        self.open.insert(inner.clone(), open);
        let folder = children.join(&name);
        match item.content {
            Some((_, items)) => self.items(items, &folder, &inner),
            None => {
                let flat: PathBuf = children.join(format!("{name}.rs"));
                let file = if flat.exists() { flat } else { folder.join("mod.rs") };
                self.file(&file, &folder, &inner);
            }
        }
    }

    fn items(&mut self, items: Vec<Item>, children: &Path, module: &[String]) {
        for item in items {
            match item {
                Item::Mod(item) if !is_test(&item.attrs) => self.module(item, children, module),
                Item::Fn(item) if is_public(&item.vis) && !is_test(&item.attrs) => {
                    self.functions.push((module.to_vec(), item.sig, announces(&item.attrs)));
                }
                Item::Trait(item) if is_public(&item.vis) => self.traits.push((module.to_vec(), item)),
                Item::Struct(item) if is_public(&item.vis) => {
                    let fields = match &item.fields {
                        Fields::Named(fields) => &fields.named,
                        Fields::Unnamed(fields) => &fields.unnamed,
                        Fields::Unit => &Default::default(),
                    };
                    let open = !fields.is_empty() && fields.iter().all(|field| is_public(&field.vis));
                    let literal = (open && !derives(&item.attrs, "non_exhaustive"))
                        .then(|| fields.iter().map(|field| text(&field.ty)).collect::<Vec<_>>().join(", "));
                    self.declare(item.ident.to_string(), module, literal, &item.attrs);
                }
                Item::Enum(item) if is_public(&item.vis) => {
                    let holds = item.variants.iter().any(|variant| !variant.fields.is_empty());
                    let open = holds && !derives(&item.attrs, "Error");
                    let literal = open.then(|| item.variants.iter().map(text).collect::<Vec<_>>().join(" | "));
                    self.declare(item.ident.to_string(), module, literal, &item.attrs);
                }
                Item::Impl(item) if !is_test(&item.attrs) => self.impls.push((module.to_vec(), item)),
                Item::Use(item) if is_public(&item.vis) => self.exports(&item.tree, module),
                Item::Macro(item) => self.expand(item, children, module),
                _ => {}
            }
        }
    }

    /// Invocations of the crate's own macros that declare types: `/// doc  Name(fields)` bodies are read by hand in the
    /// table; here only the declarations that a macro of items passes through unchanged.
    fn expand(&mut self, item: syn::ItemMacro, children: &Path, module: &[String]) {
        if item.ident.is_some() {
            return;
        }
        if let Ok(file) = syn::parse2::<syn::File>(item.mac.tokens) {
            self.items(file.items, children, module);
        }
    }

    fn declare(&mut self, name: String, module: &[String], literal: Option<String>, attributes: &[Attribute]) {
        let reads = derives(attributes, "Deserialize");
        self.types.entry(name).or_default().push(Declared { module: module.to_vec(), literal, reads });
    }

    fn exports(&mut self, tree: &UseTree, module: &[String]) {
        match tree {
            UseTree::Path(path) => self.exports(&path.tree, module),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.exports(tree, module)),
            UseTree::Name(name) => {
                self.exported.insert((module.to_vec(), name.ident.to_string()));
            }
            UseTree::Rename(rename) => {
                self.exported.insert((module.to_vec(), rename.ident.to_string()));
            }
            UseTree::Glob(_) => {
                self.exported.insert((module.to_vec(), "*".into()));
            }
        }
    }

    /// The public module through which an item of `module` is reached; `None` for a private item.
    fn home(&self, module: &[String], name: &str) -> Option<Vec<String>> {
        if self.open[module] {
            return Some(module.to_vec());
        }
        (0..module.len()).rev().map(|length| module[..length].to_vec()).find(|outer| {
            let exported = |name: &str| self.exported.contains(&(outer.clone(), name.to_string()));
            self.open[outer] && (exported(name) || exported("*"))
        })
    }

    /// The type called `name` that code in `module` means: the nearest one.
    fn resolve(&self, name: &str, module: &[String]) -> Option<&Declared> {
        let shared =
            |other: &Declared| other.module.iter().zip(module).take_while(|(theirs, own)| theirs == own).count();
        self.types.get(name)?.iter().max_by_key(|declared| shared(declared))
    }

    fn points(&self) -> Vec<Point> {
        let mut found = BTreeSet::new();
        let join =
            |home: &[String], rest: String| home.iter().map(|part| format!("{part}::")).collect::<String>() + &rest;
        for (module, signature, panics) in &self.functions {
            let name = signature.ident.to_string();
            if let Some(home) = self.home(module, &name).filter(|_| takes_values(signature)) {
                found.insert(Point { name: join(&home, name), signature: text(signature), panics: *panics });
            }
        }
        for (module, item) in &self.impls {
            let Some(name) = type_name(&item.self_ty) else { continue };
            let Some(declared) = self.resolve(&name, module) else { continue };
            let Some(home) = self.home(&declared.module, &name) else { continue };
            if let Some((_, path, _)) = &item.trait_ {
                let last = path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
                if TRAITS.contains(&last.as_str()) {
                    let point = join(&home, format!("{name}: {last}"));
                    found.insert(Point { name: point, signature: text(path), panics: false });
                }
                continue;
            }
            for member in &item.items {
                if let ImplItem::Fn(function) = member
                    && is_public(&function.vis)
                    && (takes_values(&function.sig) || constructs(&function.sig))
                {
                    let point = join(&home, format!("{name}::{}", function.sig.ident));
                    found.insert(Point {
                        name: point,
                        signature: text(&function.sig),
                        panics: announces(&function.attrs),
                    });
                }
            }
        }
        for (module, item) in &self.traits {
            let name = item.ident.to_string();
            let Some(home) = self.home(module, &name) else { continue };
            for member in &item.items {
                if let TraitItem::Fn(function) = member
                    && takes_values(&function.sig)
                {
                    let point = join(&home, format!("{name}::{}", function.sig.ident));
                    found.insert(Point {
                        name: point,
                        signature: text(&function.sig),
                        panics: announces(&function.attrs),
                    });
                }
            }
        }
        for (name, declared) in &self.types {
            for declared in declared {
                let Some(home) = self.home(&declared.module, name) else { continue };
                if let Some(literal) = &declared.literal {
                    found.insert(Point {
                        name: join(&home, format!("{name} {{}}")),
                        signature: literal.clone(),
                        panics: false,
                    });
                }
                if declared.reads {
                    let point = join(&home, format!("{name}: Deserialize"));
                    found.insert(Point { name: point, signature: "from JSON".into(), panics: false });
                }
            }
        }
        found.into_iter().collect()
    }
}

fn type_name(kind: &Type) -> Option<String> {
    match kind {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

/// Whether the function takes a value besides its object.
fn takes_values(signature: &Signature) -> bool {
    signature.inputs.iter().any(|input| matches!(input, FnArg::Typed(_)))
}

/// Whether the function makes an object: no receiver, and a result.
fn constructs(signature: &Signature) -> bool {
    signature.receiver().is_none() && !matches!(signature.output, ReturnType::Default)
}

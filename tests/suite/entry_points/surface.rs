//! The public surface of the crate, read from its sources.

use super::tokens::{Tree, trees};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
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
    "Deserialize",
];

/// Modules whose items are public in another folder: cells and checkpoint intervals in that of recurrent layers, the
/// records of a run in that of the trainer, dual numbers in that of the laws.
const ELSEWHERE: &[&str] = &["cell", "checkpoint_interval", "progress", "dual"];

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

/// All points of the crate whose sources lie in `root`, by name.
pub fn points(root: &Path) -> Vec<Point> {
    let mut surface = Surface::default();
    surface.open.insert(Vec::new(), true);
    surface.file(&root.join("lib.rs"), root, &[]);
    let mut points = surface.points();
    points.sort();
    points.dedup_by(|later, first| later.name == first.name);
    points
}

/// The attributes, documentation and visibility before an item.
#[derive(Default)]
struct Head {
    attributes: Vec<Tree>,
    panics: bool,
    public: bool,
}

impl Head {
    /// Whether an attribute contains the word.
    fn has(&self, word: &str) -> bool {
        self.attributes.iter().any(|attribute| contains(attribute, word))
    }

    /// Whether the item is part of a test, or hidden from the documentation.
    fn is_hidden(&self) -> bool {
        let test = |tree: &Tree| contains(tree, "cfg") && contains(tree, "test") && !contains(tree, "not");
        self.attributes.iter().any(|tree| test(tree) || contains(tree, "doc") && contains(tree, "hidden"))
    }
}

struct Function {
    name: String,
    /// Whether it takes a value besides its object.
    takes_values: bool,
    /// Whether it makes an object: no receiver, and a result.
    constructs: bool,
    signature: String,
    panics: bool,
    public: bool,
}

struct Declared {
    module: Vec<String>,
    literal: Option<String>,
    reads: bool,
}

struct Implemented {
    module: Vec<String>,
    object: String,
    /// The last word of the trait.
    interface: Option<String>,
    functions: Vec<Function>,
}

#[derive(Default)]
struct Surface {
    /// Types by name.
    types: BTreeMap<String, Vec<Declared>>,
    impls: Vec<Implemented>,
    functions: Vec<(Vec<String>, Function)>,
    traits: Vec<(Vec<String>, String, Vec<Function>)>,
    /// Names that a `pub use` brings to a module: the module and the name.
    exported: BTreeSet<(Vec<String>, String)>,
    /// Whether each module is public all the way.
    open: BTreeMap<Vec<String>, bool>,
}

fn contains(tree: &Tree, word: &str) -> bool {
    match tree {
        Tree::Group(_, inner) => inner.iter().any(|tree| contains(tree, word)),
        tree => tree.is(word),
    }
}

fn word(tree: Option<&Tree>) -> Option<&str> {
    if let Some(Tree::Word(word)) = tree { Some(word) } else { None }
}

fn shown(trees: &[Tree]) -> String {
    let one = |tree: &Tree| match tree {
        Tree::Word(text) => text.clone(),
        Tree::Text(text) => format!("{text:?}"),
        Tree::Doc(_) => String::new(),
        Tree::Group('(', inner) => format!("({})", shown(inner)),
        Tree::Group('[', inner) => format!("[{}]", shown(inner)),
        Tree::Group(_, inner) => format!("{{ {} }}", shown(inner)),
    };
    trees.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The parts between commas that stand outside of groups and angle brackets.
fn parts(trees: &[Tree]) -> Vec<&[Tree]> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (i, tree) in trees.iter().enumerate() {
        let arrow = i > 0 && (trees[i - 1].is("-") || trees[i - 1].is("="));
        depth += i32::from(tree.is("<")) - i32::from(tree.is(">") && !arrow);
        if depth == 0 && tree.is(",") {
            found.push(&trees[start..i]);
            start = i + 1;
        }
    }
    found.push(&trees[start..]);
    found.retain(|part| !part.is_empty());
    found
}

/// Reads the head of an item at `at`, and moves `at` behind it.
fn head(trees: &[Tree], at: &mut usize) -> Head {
    let mut head = Head::default();
    loop {
        match trees.get(*at) {
            Some(Tree::Doc(text)) => head.panics |= text == "# Panics",
            Some(tree) if tree.is("#") => {
                *at += usize::from(trees.get(*at + 1).is_some_and(|tree| tree.is("!"))) + 1;
                head.attributes.extend(trees.get(*at).cloned());
            }
            Some(tree) if tree.is("pub") => {
                let restricted = matches!(trees.get(*at + 1), Some(Tree::Group('(', _)));
                head.public = !restricted;
                *at += usize::from(restricted);
            }
            _ => return head,
        }
        *at += 1;
    }
}

/// The place of the first tree from `at` that is one of `ends`.
fn find(trees: &[Tree], at: usize, ends: impl FnMut(&Tree) -> bool) -> usize {
    trees[at..].iter().position(ends).map_or(trees.len(), |offset| at + offset)
}

fn is_body(tree: &Tree) -> bool {
    matches!(tree, Tree::Group('{', _))
}

/// The function whose keyword `fn` is at `at`, and the place behind it.
fn function(trees: &[Tree], at: usize, head: &Head) -> (Function, usize) {
    let name = word(trees.get(at + 1)).unwrap_or_default().to_string();
    let end = find(trees, at, |tree| is_body(tree) || tree.is(";"));
    // The parameters are the first group outside of the generics, whose bounds may hold groups.
    let mut depth = 0_i32;
    let open = find(&trees[..end], at, |tree| {
        depth += i32::from(tree.is("<")) - i32::from(tree.is(">"));
        depth <= 0 && matches!(tree, Tree::Group('(', _))
    });
    let parameters = if let Some(Tree::Group(_, inner)) = trees.get(open) { parts(inner) } else { Vec::new() };
    let receiver = |part: &&&[Tree]| {
        let start = part.iter().position(|tree| tree.is(":")).unwrap_or(part.len());
        part[..start].iter().any(|tree| tree.is("self"))
    };
    let receivers = parameters.iter().filter(receiver).count();
    let result = trees.get(open + 1).is_some_and(|tree| tree.is("-"));
    let function = Function {
        name,
        takes_values: parameters.len() > receivers,
        constructs: receivers == 0 && result,
        signature: shown(&trees[at..end]),
        panics: head.panics,
        public: head.public,
    };
    (function, end + 1)
}

/// The functions of the body of an `impl` or a trait.
fn functions(body: &[Tree]) -> Vec<Function> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < body.len() {
        let head = head(body, &mut at);
        let key = find(body, at, |tree| tree.is("fn") || tree.is(";") || is_body(tree));
        if body.get(key).is_some_and(|tree| tree.is("fn")) {
            let (function, end) = function(body, key, &head);
            if !head.is_hidden() {
                found.push(function);
            }
            at = end;
        } else {
            at = key + 1;
        }
    }
    found
}

impl Surface {
    fn file(&mut self, file: &Path, children: &Path, module: &[String]) {
        let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.items(&trees(&source), children, module);
    }

    fn items(&mut self, trees: &[Tree], children: &Path, module: &[String]) {
        let mut at = 0;
        while at < trees.len() {
            let head = head(trees, &mut at);
            while ["const", "unsafe", "async"].iter().any(|key| trees.get(at).is_some_and(|tree| tree.is(key)))
                && trees.get(at + 1).is_some_and(|tree| tree.is("fn") || tree.is("trait") || tree.is("impl"))
            {
                at += 1;
            }
            let end = find(trees, at, |tree| is_body(tree) || tree.is(";"));
            at = match word(trees.get(at)).unwrap_or_default() {
                "mod" => {
                    if !head.is_hidden() {
                        self.module(&head, &trees[at..trees.len().min(end + 1)], children, module);
                    }
                    end + 1
                }
                "fn" => {
                    let (function, end) = function(trees, at, &head);
                    if head.public && !head.is_hidden() {
                        self.functions.push((module.to_vec(), function));
                    }
                    end
                }
                "struct" | "enum" => {
                    if head.public {
                        self.declare(&head, &trees[at..trees.len().min(end + 1)], module);
                    }
                    end + 1
                }
                "trait" => {
                    if let (true, Some(name), Some(Tree::Group(_, body))) =
                        (head.public, word(trees.get(at + 1)), trees.get(end))
                    {
                        self.traits.push((module.to_vec(), name.into(), functions(body)));
                    }
                    end + 1
                }
                "impl" => {
                    if let (false, Some(Tree::Group(_, body))) = (head.is_hidden(), trees.get(end)) {
                        self.implement(&trees[at + 1..end], body, module);
                    }
                    end + 1
                }
                "use" => {
                    // The braces of a list are no body.
                    let end = find(trees, at, |tree| tree.is(";"));
                    if head.public && !head.is_hidden() {
                        self.exports(&trees[at + 1..end], module);
                    }
                    end + 1
                }
                "macro_rules" => {
                    if let (Some((last, above)), Some(tree)) = (module.split_last(), trees.get(end))
                        && last == "list"
                    {
                        self.listed(std::slice::from_ref(tree), children.parent().unwrap_or(children), above);
                    }
                    end + 1
                }
                _ if trees.get(at + 1).is_some_and(|tree| tree.is("!")) => {
                    // Items that a macro passes through unchanged.
                    if let Some(Tree::Group(_, inner)) = trees.get(at + 2) {
                        self.items(inner, children, module);
                    }
                    at + 3
                }
                "const" | "static" | "type" | "extern" => find(trees, at, |tree| tree.is(";")) + 1,
                _ => at + 1,
            };
        }
    }

    /// The lines `file: Type, Type;` of a `list.rs`: a macro makes `mod file; pub use file::{Type, Type};` of each.
    fn listed(&mut self, trees: &[Tree], children: &Path, module: &[String]) {
        for tree in trees {
            if let Tree::Group(_, inner) = tree {
                self.listed(inner, children, module);
            }
        }
        let begins = |tree: &Tree, upper: bool| {
            word(Some(tree))
                .is_some_and(|word| word.starts_with(|c: char| c.is_alphabetic() && c.is_uppercase() == upper))
        };
        for line in trees.split(|tree| tree.is(";")) {
            let is_line = |three: &[Tree]| begins(&three[0], false) && three[1].is(":") && begins(&three[2], true);
            let Some(at) = line.windows(3).position(is_line) else { continue };
            self.module(&Head::default(), &[Tree::Word("mod".into()), line[at].clone()], children, module);
            for name in line[at + 2..].iter().filter(|tree| begins(tree, true)).filter_map(|tree| word(Some(tree))) {
                self.exported.insert((module.to_vec(), name.to_string()));
            }
        }
    }

    fn module(&mut self, head: &Head, item: &[Tree], children: &Path, module: &[String]) {
        let Some(name) = word(item.get(1)) else { return };
        let inner: Vec<String> = module.iter().cloned().chain([name.to_string()]).collect();
        self.open.insert(inner.clone(), head.public && self.open[module]);
        let folder = children.join(name);
        if let Some(Tree::Group(_, items)) = item.get(2) {
            return self.items(items, &folder, &inner);
        }
        let flat = children.join(format!("{name}.rs"));
        let file = if flat.exists() { flat } else { folder.join("mod.rs") };
        if file.exists() {
            self.file(&file, &folder, &inner);
        }
    }

    fn declare(&mut self, head: &Head, item: &[Tree], module: &[String]) {
        let Some(name) = word(item.get(1)) else { return };
        let group =
            item.iter().rev().find_map(|tree| if let Tree::Group(_, inner) = tree { Some(inner) } else { None });
        let fields = group.map(|inner| parts(inner)).unwrap_or_default();
        let open = if item[0].is("struct") {
            let is_public = |field: &&[Tree]| self::head(field, &mut 0).public;
            !fields.is_empty() && fields.iter().all(is_public) && !head.has("non_exhaustive")
        } else {
            // A variant that holds a value.
            let holds = |variant: &&[Tree]| {
                let mut at = 0;
                self::head(variant, &mut at);
                variant[at..].iter().any(|tree| matches!(tree, Tree::Group(..)))
            };
            fields.iter().any(holds) && !head.has("Error")
        };
        let literal = open.then(|| fields.iter().map(|field| shown(field)).collect::<Vec<_>>().join(", "));
        let declared = Declared { module: module.to_vec(), literal, reads: head.has("Deserialize") };
        self.types.entry(name.into()).or_default().push(declared);
    }

    /// The header between `impl` and its body: generics, perhaps a trait and `for`, the type, perhaps `where`.
    fn implement(&mut self, header: &[Tree], body: &[Tree], module: &[String]) {
        let header = &header[..find(header, 0, |tree| tree.is("where"))];
        // Words outside of angle brackets; paths end in the name.
        let (mut depth, mut before_for, mut last) = (0_i32, None, None);
        for (i, tree) in header.iter().enumerate() {
            let arrow = i > 0 && header[i - 1].is("-");
            depth += i32::from(tree.is("<")) - i32::from(tree.is(">") && !arrow);
            match tree {
                Tree::Word(text) if depth == 0 && text == "for" => before_for = last.take(),
                Tree::Word(text) if depth == 0 && text.starts_with(|c: char| c.is_alphabetic()) => {
                    last = Some(text.clone());
                }
                _ => {}
            }
        }
        if let Some(object) = last {
            let functions = functions(body);
            self.impls.push(Implemented { module: module.to_vec(), object, interface: before_for, functions });
        }
    }

    fn exports(&mut self, tree: &[Tree], module: &[String]) {
        match tree.last() {
            Some(Tree::Group(_, inner)) => parts(inner).into_iter().for_each(|part| self.exports(part, module)),
            Some(Tree::Word(name)) => {
                self.exported.insert((module.to_vec(), name.clone()));
            }
            _ => {}
        }
    }

    /// The public module through which an item of `module` is reached; `None` for a private item.
    fn home(&self, module: &[String], name: &str) -> Option<Vec<String>> {
        if self.open[module] {
            return Some(module.to_vec());
        }
        let outer = (0..module.len()).rev().map(|length| module[..length].to_vec()).find(|outer| {
            let exported = |name: &str| self.exported.contains(&(outer.clone(), name.to_string()));
            self.open[outer] && (exported(name) || exported("*"))
        });
        let elsewhere = || self.exported.iter().find(|(other, own)| own == name && self.open[other]);
        let crate_wide = module.iter().any(|part| ELSEWHERE.contains(&&**part));
        outer.or_else(|| elsewhere().filter(|_| crate_wide).map(|(other, _)| other.clone()))
    }

    /// The type called `name` that code in `module` means: the nearest one.
    fn resolve(&self, name: &str, module: &[String]) -> Option<&Declared> {
        let shared =
            |other: &Declared| other.module.iter().zip(module).take_while(|(theirs, own)| theirs == own).count();
        self.types.get(name)?.iter().max_by_key(|declared| shared(declared))
    }

    fn points(&self) -> Vec<Point> {
        let mut found = Vec::new();
        let mut add = |home: &[String], rest: String, signature: &str, panics: bool| {
            let name = home.iter().map(|part| format!("{part}::")).collect::<String>() + &rest;
            found.push(Point { name, signature: signature.into(), panics });
        };
        for (module, function) in &self.functions {
            if let Some(home) = self.home(module, &function.name).filter(|_| function.takes_values) {
                add(&home, function.name.clone(), &function.signature, function.panics);
            }
        }
        for Implemented { module, object, interface, functions } in &self.impls {
            let Some(declared) = self.resolve(object, module) else { continue };
            let Some(home) = self.home(&declared.module, object) else { continue };
            if let Some(interface) = interface {
                if TRAITS.contains(&interface.as_str()) {
                    // The documentation of the trait states when its methods may panic.
                    let mut stated = self.traits.iter().filter(|(_, name, _)| name == interface);
                    let panics = stated.any(|(_, _, functions)| functions.iter().any(|function| function.panics));
                    add(&home, format!("{object}: {interface}"), "an implementation", panics);
                }
                continue;
            }
            for function in functions.iter().filter(|function| function.public) {
                if function.takes_values || function.constructs {
                    add(&home, format!("{object}::{}", function.name), &function.signature, function.panics);
                }
            }
        }
        for (module, name, functions) in &self.traits {
            let Some(home) = self.home(module, name) else { continue };
            for function in functions.iter().filter(|function| function.takes_values) {
                add(&home, format!("{name}::{}", function.name), &function.signature, function.panics);
            }
        }
        for (name, declared) in self.types.iter().flat_map(|(name, all)| all.iter().map(move |one| (name, one))) {
            let Some(home) = self.home(&declared.module, name) else { continue };
            if let Some(literal) = &declared.literal {
                add(&home, format!("{name} {{}}"), literal, false);
            }
            if declared.reads {
                add(&home, format!("{name}: Deserialize"), "from JSON", false);
            }
        }
        found
    }
}

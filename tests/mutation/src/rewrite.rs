//! Writes all mutants of a source file into it, each behind a switch.

use std::collections::BTreeSet;
use syn::{
    BinOp, Block, Expr, ExprBinary, ExprMatch, ExprRepeat, ExprUnary, Pat, ReturnType, Signature, Type, UnOp,
    spanned::Spanned,
    visit::{self, Visit},
};

/// One change of the source.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub id: u32,
    pub file: String,
    pub line: usize,
    pub function: String,
    pub change: String,
}

/// Text to insert. Pieces are in source order; a piece with a number belongs to that mutant.
struct Insertion {
    at: usize,
    /// Ends of outer expressions come after those of inner ones, starts before them.
    order: (bool, isize),
    pieces: Vec<(Option<u32>, String)>,
}

/// A rewritten file, and where its mutants are in it.
pub struct Rewritten {
    pub text: String,
    pub places: Vec<(std::ops::Range<usize>, u32)>,
}

pub struct Rewriter<'a> {
    source: &'a str,
    file: &'a str,
    lines: Vec<usize>,
    /// Mutants that do not compile.
    unviable: &'a BTreeSet<u32>,
    next: &'a mut u32,
    found: &'a mut Vec<Mutant>,
    insertions: Vec<Insertion>,
    path: Vec<String>,
    depth: isize,
}

impl<'a> Rewriter<'a> {
    /// Rewrites a file; its mutants are added to `found`.
    pub fn rewrite(
        source: &'a str,
        file: &'a str,
        unviable: &'a BTreeSet<u32>,
        next: &'a mut u32,
        found: &'a mut Vec<Mutant>,
    ) -> Rewritten {
        let lines = std::iter::once(0).chain(source.match_indices('\n').map(|(i, _)| i + 1)).collect();
        let parsed = syn::parse_file(source).unwrap_or_else(|error| panic!("{file}: {error}"));
        let (insertions, path) = (Vec::new(), Vec::new());
        let mut rewriter = Rewriter { source, file, lines, unviable, next, found, insertions, path, depth: 0 };
        rewriter.visit_file(&parsed);
        rewriter.apply()
    }

    fn apply(mut self) -> Rewritten {
        self.insertions.sort_by_key(|insertion| (insertion.at, insertion.order));
        let (mut text, mut places, mut at) = (String::new(), Vec::new(), 0);
        for insertion in &self.insertions {
            text.push_str(&self.source[at..insertion.at]);
            at = insertion.at;
            for (id, piece) in &insertion.pieces {
                let start = text.len();
                text.push_str(piece);
                places.extend(id.map(|id| (start..text.len(), id)));
            }
        }
        text.push_str(&self.source[at..]);
        Rewritten { text, places }
    }

    fn range(&self, node: &impl Spanned) -> std::ops::Range<usize> {
        let span = node.span();
        // Columns count characters.
        let offset = |at: proc_macro2::LineColumn| {
            let start = self.lines[at.line - 1];
            let line = &self.source[start..];
            start + line.char_indices().nth(at.column).map_or(line.len(), |(i, _)| i)
        };
        offset(span.start())..offset(span.end())
    }

    fn text(&self, node: &impl Spanned) -> &'a str {
        &self.source[self.range(node)]
    }

    /// A number for a change, unless it does not compile.
    fn mutant(&mut self, node: &impl Spanned, change: String) -> Option<u32> {
        let id = *self.next;
        *self.next += 1;
        let (file, line, function) = (self.file.to_owned(), node.span().start().line, self.path.join("::"));
        let change = change.split_whitespace().collect::<Vec<_>>().join(" ");
        self.found.push(Mutant { id, file, line, function, change });
        (!self.unviable.contains(&id)).then_some(id)
    }

    /// Puts alternatives before an expression.
    fn alternatives(&mut self, node: &impl Spanned, alternatives: Vec<(String, String)>) {
        let range = self.range(node);
        let mut pieces = vec![(None, "(".to_owned())];
        for (change, text) in alternatives {
            if let Some(id) = self.mutant(node, change) {
                pieces.push((Some(id), format!("if crate::mutation::on({id}) {{ {text} }} else ")));
            }
        }
        if pieces.len() == 1 {
            return;
        }
        pieces.push((None, "{ ".to_owned()));
        self.insert(range.start, (true, self.depth), pieces);
        self.insert(range.end, (false, -self.depth), vec![(None, " })".to_owned())]);
    }

    fn insert(&mut self, at: usize, order: (bool, isize), pieces: Vec<(Option<u32>, String)>) {
        self.insertions.push(Insertion { at, order, pieces });
    }

    /// A body that returns at once.
    fn function(&mut self, signature: &Signature, block: &Block) {
        let values = match &signature.output {
            ReturnType::Default if block.stmts.is_empty() => Vec::new(),
            ReturnType::Default => vec![String::new()],
            ReturnType::Type(_, of) => values(of, &|node| self.text(node).to_owned()),
        };
        let body = self.text(block).trim_start_matches('{').trim_end_matches('}').trim().to_owned();
        let at = self.range(block).start + 1;
        let mut pieces = Vec::new();
        for value in values.into_iter().filter(|value| *value != body || body.is_empty()) {
            let change = if value.is_empty() { "replace the body".into() } else { format!("return {value}") };
            if let Some(id) = self.mutant(&signature.ident, change) {
                pieces.push((Some(id), format!(" if crate::mutation::on({id}) {{ return {value}; }}")));
            }
        }
        self.insert(at, (true, self.depth), pieces);
    }

    fn enter(&mut self, name: String, inside: impl FnOnce(&mut Self)) {
        self.path.push(name);
        self.depth += 1;
        inside(self);
        self.depth -= 1;
        self.path.pop();
    }
}

/// Values that a type may have.
fn values(of: &Type, text: &dyn Fn(&Type) -> String) -> Vec<String> {
    let strings = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>();
    match of {
        Type::Tuple(tuple) => {
            let each: Vec<Vec<String>> = tuple.elems.iter().map(|of| values(of, text)).collect();
            let most = each.iter().map(Vec::len).min().unwrap_or(0);
            (0..most)
                .map(|i| format!("({},)", each.iter().map(|each| each[i].clone()).collect::<Vec<_>>().join(", ")))
                .collect()
        }
        Type::Reference(reference) => match (&*reference.elem, reference.mutability) {
            (Type::Slice(_), None) => strings(&["&[]"]),
            (Type::Path(path), None) if path.path.is_ident("str") => strings(&["\"\"", "\"xyzzy\""]),
            _ => Vec::new(),
        },
        Type::Array(array) => values(&array.elem, text).into_iter().map(|value| format!("[{value}; _]")).collect(),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return Vec::new() };
            let arguments: Vec<&Type> = match &last.arguments {
                syn::PathArguments::AngleBracketed(arguments) => arguments
                    .args
                    .iter()
                    .filter_map(|argument| match argument {
                        syn::GenericArgument::Type(of) => Some(of),
                        _ => None,
                    })
                    .collect(),
                _ => Vec::new(),
            };
            let first = || arguments.first().map(|of| values(of, text)).unwrap_or_default();
            let wrapped = |before: &str, after: &str| {
                first().into_iter().map(|value| format!("{before}{value}{after}")).collect::<Vec<_>>()
            };
            match last.ident.to_string().as_str() {
                "bool" => strings(&["true", "false"]),
                "u8" | "u16" | "u32" | "u64" | "usize" => strings(&["0", "1"]),
                "i8" | "i16" | "i32" | "i64" | "isize" => strings(&["0", "1", "-1"]),
                "f32" | "f64" => strings(&["0.0", "1.0", "-1.0"]),
                "T" => strings(&["T::zero()", "T::one()", "-T::one()"]),
                "String" => strings(&["Default::default()", "\"xyzzy\".into()"]),
                "Option" => [strings(&["None"]), wrapped("Some(", ")")].concat(),
                "Result" if arguments.first().is_some_and(|of| matches!(of, Type::Tuple(t) if t.elems.is_empty())) => {
                    strings(&["Ok(())"])
                }
                "Result" => wrapped("Ok(", ")"),
                "Vec" => [strings(&["Default::default()"]), wrapped("[", "].into()")].concat(),
                "Box" => wrapped("alloc::boxed::Box::new(", ")"),
                "Self" => Vec::new(),
                _ => strings(&["Default::default()"]),
            }
        }
        _ => Vec::new(),
    }
}

/// The operators that take the place of one.
fn others(operator: &BinOp) -> &'static [&'static str] {
    match operator {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">"],
        BinOp::Ge(_) => &["<"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) => &["+", "/"],
        BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["%", "*"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) => &["+=", "/="],
        BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::DivAssign(_) => &["%=", "*="],
        BinOp::RemAssign(_) => &["/=", "+="],
        BinOp::ShlAssign(_) => &[">>="],
        BinOp::ShrAssign(_) => &["<<="],
        BinOp::BitAndAssign(_) => &["|="],
        BinOp::BitOrAssign(_) => &["&="],
        BinOp::BitXorAssign(_) => &["|=", "&="],
        _ => &[],
    }
}

/// Whether a `let` of a chain stands in an expression.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string().contains("test"));
        attribute.path().is_ident("test") || (attribute.path().is_ident("cfg") && list)
    })
}

impl<'ast> Visit<'ast> for Rewriter<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.sig.constness.is_none() && !is_test(&item.attrs) {
            self.enter(item.sig.ident.to_string(), |this| {
                this.function(&item.sig, &item.block);
                visit::visit_block(this, &item.block);
            });
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.sig.constness.is_none() && !is_test(&item.attrs) {
            self.enter(item.sig.ident.to_string(), |this| {
                this.function(&item.sig, &item.block);
                visit::visit_block(this, &item.block);
            });
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.enter(item.sig.ident.to_string(), |this| {
                this.function(&item.sig, block);
                visit::visit_block(this, block);
            });
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        // What a message says is not judged.
        let of = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last()).map(|last| last.ident.to_string());
        if is_test(&item.attrs) || of.is_some_and(|of| of == "Debug" || of == "Default") {
            return;
        }
        let name = self.text(&*item.self_ty).to_owned();
        self.enter(name, |this| visit::visit_item_impl(this, item));
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        self.depth += 1;
        visit::visit_expr(self, expression);
        self.depth -= 1;
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        if !has_let(&binary.left) && !has_let(&binary.right) {
            let (left, right) = (self.text(&*binary.left), self.text(&*binary.right));
            let old = self.text(&binary.op).to_owned();
            let other =
                |new: &&str| (format!("{old} → {new} in {left} {old} {right}"), format!("({left}) {new} ({right})"));
            self.alternatives(binary, others(&binary.op).iter().map(other).collect());
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast ExprUnary) {
        if matches!(unary.op, UnOp::Neg(_) | UnOp::Not(_)) {
            let operand = self.text(&*unary.expr).to_owned();
            let change = format!("delete the sign of {}", self.text(unary));
            self.alternatives(unary, vec![(change, format!("({operand})"))]);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, of: &'ast ExprMatch) {
        let all = |pattern: &Pat| matches!(pattern, Pat::Wild(_));
        let rest = of.arms.last().is_some_and(|arm| all(&arm.pat) && arm.guard.is_none());
        for arm in &of.arms {
            let pattern = self.text(&arm.pat);
            if let Some((_, guard)) = &arm.guard {
                let changes = [true, false].map(|value| format!("guard {} → {value}", self.text(&**guard)));
                let [yes, no] = changes.map(|change| self.mutant(&arm.pat, change));
                let range = self.range(&**guard);
                let yes = yes.map(|id| (Some(id), format!("crate::mutation::on({id}) || ")));
                let no = no.map(|id| (Some(id), format!("!crate::mutation::on({id}) && ")));
                let open = (None, "(".to_owned());
                let pieces = [Some(open.clone()), yes, Some(open.clone()), no, Some(open)];
                self.insert(range.start, (true, self.depth), pieces.into_iter().flatten().collect());
                self.insert(range.end, (false, -self.depth), vec![(None, ")))".into())]);
            } else if rest && !all(&arm.pat) {
                let at = self.range(&arm.pat).end;
                if let Some(id) = self.mutant(&arm.pat, format!("delete the arm {pattern}")) {
                    let text = format!(" if !crate::mutation::on({id})");
                    self.insert(at, (false, -self.depth), vec![(Some(id), text)]);
                }
            }
        }
        visit::visit_expr_match(self, of);
    }

    // Constants cannot be switched; patterns, types and attributes have no operators.
    fn visit_expr_repeat(&mut self, repeat: &'ast ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
}

//! The rules of prose that a program can check: no people words in comments, no doc sentence over 35 words, no comment
//! line over 120 columns. Tables and code are exempt.

use crate::sources::sources;
use std::{fs, path::Path};

/// Folders whose sources are read.
const FOLDERS: [&str; 5] = ["src", "tests", "examples", "benches", "clinic"];
const COLUMNS: usize = 120;
const WORDS: usize = 35;
/// Words that make a person the subject. They stand here in halves, so that this file passes.
const PEOPLE: [[&str; 2]; 5] = [["w", "ho"], ["w", "hom"], ["w", "hoever"], ["no", "body"], ["some", "body"]];

/// The text after `//`, `///` or `//!`, where the line is or ends in a comment.
fn comment(line: &str) -> Option<&str> {
    let text = match line.trim_start().strip_prefix("//") {
        Some(text) => text,
        None => line.split_once(" // ")?.1,
    };
    Some(text.trim_start_matches(['/', '!']).trim_start_matches(' '))
}

fn is_doc(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("///") || line.starts_with("//!")
}

/// The sentences of a paragraph that are longer than [`WORDS`]; code spans and formulas count as one word.
fn long_sentences(paragraph: &str) -> Vec<String> {
    let plain: String = paragraph.split('`').enumerate().map(|(i, part)| if i % 2 == 0 { part } else { "x" }).collect();
    let mut long = Vec::new();
    for sentence in plain.split_inclusive(". ") {
        let words = sentence.split_whitespace().filter(|word| word.contains(char::is_alphabetic)).count();
        if words > WORDS {
            long.push(format!("{words} words: {sentence:.60}…"));
        }
    }
    long
}

/// What a source breaks, a line each.
fn faults(text: &str) -> Vec<String> {
    let (mut found, mut paragraph, mut code) = (Vec::new(), String::new(), false);
    for (number, line) in text.lines().chain([""]).enumerate() {
        let number = number + 1;
        let columns = line.chars().count();
        let is_prose = |text: &str| !text.starts_with('|');
        if columns > COLUMNS && line.trim_start().starts_with("//") && comment(line).is_some_and(is_prose) {
            found.push(format!("{number}: {columns} columns"));
        }
        if let Some(comment) = comment(line) {
            let words = comment.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase);
            if let Some(word) = words.into_iter().find(|word| PEOPLE.iter().any(|halves| *word == halves.concat())) {
                found.push(format!("{number}: “{word}”"));
            }
        }
        let text = comment(line).filter(|_| is_doc(line)).unwrap_or("");
        code ^= text.starts_with("```");
        if code || text.is_empty() || text.starts_with(['|', '#', '`', '-', '\\']) {
            let long = long_sentences(&paragraph).into_iter().map(|fault| format!("before {number}: {fault}"));
            found.extend(long);
            paragraph.clear();
        }
        if !code && !text.starts_with(['|', '#']) && !text.starts_with("```") {
            paragraph.push_str(text);
            paragraph.push(' ');
        }
    }
    found
}

#[test]
fn comments_follow_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths: Vec<_> = FOLDERS.iter().flat_map(|folder| sources(&root.join(folder))).collect();
    assert!(paths.len() > 100, "found {} files only", paths.len());
    let mut found = Vec::new();
    for path in paths {
        let place = path.strip_prefix(root).unwrap().display().to_string();
        found.extend(faults(&fs::read_to_string(&path).unwrap()).into_iter().map(|fault| format!("{place}:{fault}")));
    }
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
}

/// First words that keep the subject of a test from the start of its name.
const FIRST_WORDS: [&str; 7] = ["a", "an", "the", "what", "it", "every", "each"];

/// The names of the tests in a source.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]\n").skip(1).filter_map(|rest| rest.split_once("fn ")?.1.split(['(', '<']).next())
}

/// A test is named subject_condition_result.
#[test]
fn names_of_tests_begin_with_their_subject() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in FOLDERS.iter().flat_map(|folder| sources(&root.join(folder))) {
        for name in test_names(&fs::read_to_string(&path).unwrap()) {
            seen += 1;
            if FIRST_WORDS.contains(&name.split('_').next().unwrap()) {
                wrong.push(format!("{}: {name}", path.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(seen > 500, "{seen} tests");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What an author reads of a contract: its file, the items, and the lines that they may have. Of a trait with the
/// comment `// Optional facts`, the lines before it count.
const CONTRACTS: [(&str, &[&str], usize); 5] = [
    ("layer/mod.rs", &["trait Layer"], 145),
    ("layer/pass.rs", &["struct Forward", "struct Backward"], 55),
    ("cell/mod.rs", &["trait Cell"], 120),
    ("monitor/mod.rs", &["trait GradientMonitor"], 100),
    ("transform/mod.rs", &["trait GradientTransform"], 100),
];

/// The lines of a public item with its documentation, up to the comment `// Optional facts` if there is one.
fn lines_of(text: &str, item: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_item =
        |line: &str| line.strip_prefix("pub ").is_some_and(|rest| rest.split(['<', ':']).next() == Some(item));
    let at = lines.iter().position(|line| is_item(line)).unwrap_or_else(|| panic!("no {item}"));
    let start = lines[..at].iter().rposition(|line| line.is_empty()).map_or(0, |empty| empty + 1);
    let ends = |line: &&str| *line == "}" || line.trim_start().starts_with("// Optional facts");
    lines[at..].iter().position(ends).unwrap() + at + 1 - start
}

/// The bars of the contracts: 200 lines for a layer with its passes, 120 for a cell, 100 for a monitor or a transform.
#[test]
fn contracts_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (file, items, most) in CONTRACTS {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let found: usize = items.iter().map(|item| lines_of(&text, item)).sum();
        assert!(found <= most, "{items:?} of {file}: {found} lines, at most {most}");
    }
}

#[test]
fn rules_find_their_faults() {
    let person = format!("/// The monitor {} watches.", PEOPLE[0].concat());
    assert_eq!(faults(&person).len(), 1);
    assert_eq!(faults(&format!("// {}", "x".repeat(COLUMNS))).len(), 1);
    assert_eq!(
        faults(
            &format!("/// One {}two.", "word ".repeat(WORDS))
                .replace("word word word word ", "word\n/// word word word ")
        )
        .len(),
        1
    );
    assert_eq!(faults(&format!("/// {}", "word. ".repeat(WORDS / 2))).len(), 0);
    let [person, name] = [PEOPLE[0], PEOPLE[3]].map(|halves| halves.concat());
    assert_eq!(faults(&format!("/// | a table {person} |")).len(), 1);
    assert_eq!(faults(&format!("let {name} = 1;")).len(), 0);
}

/// The public traits of the source `text` whose pages have no example. `is_public` says whether a name has a page.
fn traits_without_example(text: &str, is_public: impl Fn(&str) -> bool) -> Vec<&str> {
    let (mut found, mut page) = (Vec::new(), String::new());
    for line in text.lines() {
        match line.strip_prefix("pub trait ") {
            Some(rest) => {
                let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(rest);
                if is_public(name) && !page.contains("/// ```") && !page.contains("doc(hidden)") {
                    found.push(name);
                }
                page.clear();
            }
            // Attributes of several lines are indented, or end in a bracket.
            None if line.starts_with("///") || line.starts_with(['#', ' ', ')']) => page += line,
            None => page.clear(),
        }
    }
    found
}

#[test]
fn pages_of_traits_have_examples() {
    let texts: Vec<String> = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let exports: String = texts
        .iter()
        .flat_map(|text| text.split("pub use ").skip(1))
        .fold(String::new(), |all, rest| all + rest.split(';').next().unwrap_or(rest) + " ");
    let exported: Vec<&str> = exports.split(|c: char| !c.is_alphanumeric()).collect();
    // Traits of modules that are public themselves: none of these has a `pub use`.
    let of_modules = ["Cell", "Communicator", "FixStrategy", "GradientTransform", "Initializer", "Loss"];
    let is_public = |name: &str| exported.contains(&name) || of_modules.contains(&name);
    let without: Vec<_> = texts.iter().flat_map(|text| traits_without_example(text, is_public)).collect();
    assert!(without.is_empty(), "no example: {without:?}");
    let pages = [
        "/// A.\n/// ```\npub trait A {}",
        "/// B.\n#[x(\n    y\n)]\npub trait B: C {}",
        "#[doc(hidden)]\npub trait C {}",
    ];
    let found: Vec<_> = pages.iter().flat_map(|page| traits_without_example(page, |_| true)).collect();
    assert_eq!(found, ["B"]);
}

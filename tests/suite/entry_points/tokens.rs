//! Rust source as trees of tokens.

/// A token, or the tokens between two brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A word, a number, a lifetime, or one character of punctuation.
    Word(String),
    /// The text of a string literal.
    Text(String),
    /// The text of a doc comment, one line.
    Doc(String),
    /// The opening bracket and what it holds.
    Group(char, Vec<Tree>),
}

impl Tree {
    /// Whether this is the word or punctuation `text`.
    pub fn is(&self, text: &str) -> bool {
        matches!(self, Tree::Word(word) if word == text)
    }
}

/// Reads a whole source.
pub fn trees(source: &str) -> Vec<Tree> {
    let characters: Vec<char> = source.chars().collect();
    let mut reader = Reader { characters: &characters, at: 0 };
    let trees = reader.group();
    assert_eq!(reader.at, characters.len(), "a bracket too many");
    trees
}

struct Reader<'a> {
    characters: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.characters.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// The characters up to the first for which `end` is true.
    fn until(&mut self, end: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.at < self.characters.len() && !end(self.characters[self.at]) {
            self.at += 1;
        }
        self.characters[start..self.at].iter().collect()
    }

    /// The trees up to a closing bracket or the end.
    fn group(&mut self) -> Vec<Tree> {
        let mut trees = Vec::new();
        while self.at < self.characters.len() {
            let c = self.peek(0);
            match c {
                _ if c.is_whitespace() => self.at += 1,
                '/' if self.peek(1) == '/' => {
                    let line = self.until(|c| c == '\n');
                    if let Some(doc) = line.strip_prefix("///") {
                        trees.push(Tree::Doc(doc.trim().into()));
                    }
                }
                '/' if self.peek(1) == '*' => {
                    while !(self.peek(0) == '*' && self.peek(1) == '/') {
                        self.at += 1;
                    }
                    self.at += 2;
                }
                '(' | '[' | '{' => {
                    self.at += 1;
                    let inner = self.group();
                    self.at += 1;
                    trees.push(Tree::Group(c, inner));
                }
                ')' | ']' | '}' => break,
                '"' => trees.push(self.text()),
                'b' if self.peek(1) == '"' => {
                    self.at += 1;
                    trees.push(self.text());
                }
                'r' if self.peek(1) == '"' || self.peek(1) == '#' && matches!(self.peek(2), '"' | '#') => {
                    trees.push(self.raw())
                }
                '\'' => trees.push(self.quote()),
                _ if c.is_alphanumeric() || c == '_' => {
                    trees.push(Tree::Word(self.until(|c| !c.is_alphanumeric() && c != '_')))
                }
                _ => {
                    self.at += 1;
                    trees.push(Tree::Word(c.into()));
                }
            }
        }
        trees
    }

    fn text(&mut self) -> Tree {
        self.at += 1;
        let mut text = String::new();
        while self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                self.at += 1;
            }
            text.push(self.peek(0));
            self.at += 1;
        }
        self.at += 1;
        Tree::Text(text)
    }

    fn raw(&mut self) -> Tree {
        self.at += 1;
        let hashes = self.until(|c| c != '#').len();
        self.at += 1;
        let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        let start = self.at;
        while !self.characters[self.at..].starts_with(&end) {
            self.at += 1;
        }
        let text = self.characters[start..self.at].iter().collect();
        self.at += end.len();
        Tree::Text(text)
    }

    /// A character or a lifetime.
    fn quote(&mut self) -> Tree {
        if self.peek(1) != '\\' && self.peek(2) != '\'' {
            self.at += 1;
            return Tree::Word(format!("'{}", self.until(|c| !c.is_alphanumeric() && c != '_')));
        }
        self.at += if self.peek(1) == '\\' { 3 } else { 2 };
        let _ = self.until(|c| c == '\'');
        self.at += 1;
        Tree::Word("''".into())
    }
}

#[test]
fn source_is_read_as_trees() {
    let word = |text: &str| Tree::Word(text.into());
    let source = "/// # Panics\nfn f<'a>(x: &'a str) { g(\"a\\\"}\", '{', r#\"}\"#); } // }";
    let inner = vec![Tree::Text("a\"}".into()), word(","), word("''"), word(","), Tree::Text("}".into())];
    let parameters = ["x", ":", "&", "'a", "str"].map(word).to_vec();
    let body = vec![word("g"), Tree::Group('(', inner), word(";")];
    let mut expected = vec![Tree::Doc("# Panics".into())];
    expected.extend(["fn", "f", "<", "'a", ">"].map(word));
    expected.extend([Tree::Group('(', parameters), Tree::Group('{', body)]);
    assert_eq!(trees(source), expected);
}

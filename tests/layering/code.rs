//! Reads a source as far as the layering needs it: which paths stand in it, and which modules it declares.
//! Plain tokens, without comments, strings and test code; a parser of all of Rust is not needed for that.

/// What a file says outside of comments, strings and test code.
pub struct Code {
    /// Every path, with the trees of `use` taken apart.
    pub paths: Vec<PathUse>,
    /// `mod name;` and `mod name { }` at any depth, in order.
    pub modules: Vec<String>,
    /// `#[cfg(test)] mod name;`
    pub test_modules: Vec<String>,
}

/// A path as it stands in the source, with the tree of a `use` taken apart.
#[derive(Debug)]
pub struct PathUse {
    /// The names, from the left; `*` may be the last.
    pub names: Vec<String>,
    /// The line on which it begins.
    pub line: usize,
    /// How many `mod name { }` of the same file it stands in.
    inline_depth: usize,
}

impl PathUse {
    /// Where the path leads, from a file that stands this many modules below the root.
    pub fn names_from_the_root(&self, file_depth: usize) -> FromRoot<'_> {
        let mut names = self.names.iter().map(String::as_str).peekable();
        while names.next_if_eq(&"self").is_some() {}
        let begins_with_self = self.names.first().is_some_and(|name| name == "self");
        let first = names.next().unwrap_or("self");
        match first {
            "crate" | "bailiwick" => FromRoot::Module(names.next().unwrap_or("self")),
            "super" => {
                let mut up = 1;
                while names.next_if_eq(&"super").is_some() {
                    up += 1;
                }
                if up < file_depth + self.inline_depth {
                    return FromRoot::Inside;
                }
                FromRoot::Module(names.next().unwrap_or("self"))
            }
            _ if begins_with_self => FromRoot::Inside,
            name => FromRoot::Crate(name),
        }
    }
}

/// What the first names of a path lead to.
pub enum FromRoot<'a> {
    /// A module at the top of our crate; `*` and `self` stand for all of it.
    Module(&'a str),
    /// Somewhere below the module in which the path stands.
    Inside,
    /// Perhaps another crate.
    Crate(&'a str),
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    /// A name, `::`, or one character of punctuation.
    text: String,
    line: usize,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

impl Code {
    pub fn read(text: &str) -> Self {
        let (tokens, test_modules) = without_tests(&tokens(text));
        let mut code = Self { paths: Vec::new(), modules: Vec::new(), test_modules };
        let mut braces: Vec<bool> = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let is = |offset: usize, text: &str| tokens.get(at + offset).is_some_and(|t| t.text == text);
            let inline_depth = braces.iter().filter(|is_module| **is_module).count();
            if is(0, "use")
                && tokens.get(at + 1).is_some_and(|t| t.is_name() || t.text == "::" || t.text == "{")
            {
                at = code.read_use(&tokens, at + 1, &[], inline_depth);
                continue;
            }
            if is(0, "extern") && is(1, "crate") {
                let token = tokens.get(at + 2);
                code.paths.extend(token.map(|t| PathUse {
                    names: vec![t.text.clone()],
                    line: t.line,
                    inline_depth,
                }));
                at += 3;
                continue;
            }
            if is(0, "mod") && tokens.get(at + 1).is_some_and(Token::is_name) {
                code.modules.push(tokens[at + 1].text.clone());
                if is(2, "{") {
                    braces.push(true);
                }
                at += 3;
                continue;
            }
            let rooted = at > 0 && tokens[at - 1].text == "::" && (at < 2 || !continues(&tokens[at - 2]));
            let begins = at == 0 || rooted || (tokens[at - 1].text != "::" && tokens[at - 1].text != ".");
            if tokens[at].is_name() && begins && is(1, "::") {
                let mut names = vec![tokens[at].text.clone()];
                let mut next = at + 1;
                while tokens.get(next).is_some_and(|t| t.text == "::")
                    && tokens.get(next + 1).is_some_and(Token::is_name)
                {
                    names.push(tokens[next + 1].text.clone());
                    next += 2;
                }
                code.paths.push(PathUse { names, line: tokens[at].line, inline_depth });
            }
            match tokens[at].text.as_str() {
                "{" => braces.push(false),
                "}" => drop(braces.pop()),
                _ => {}
            }
            at += 1;
        }
        code
    }

    /// Takes one tree of a `use` apart; returns where it ends.
    fn read_use(&mut self, tokens: &[Token], start: usize, prefix: &[String], inline_depth: usize) -> usize {
        let mut names = prefix.to_vec();
        let mut at = start;
        while let Some(token) = tokens.get(at) {
            match token.text.as_str() {
                "::" => {}
                "as" => at += 1,
                "{" => {
                    at += 1;
                    while tokens.get(at).is_some_and(|t| t.text != "}" && t.text != ";") {
                        at = self.read_use(tokens, at, &names, inline_depth);
                        if tokens.get(at).is_some_and(|t| t.text == ",") {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                "," | "}" | ";" => break,
                text => names.push(text.to_owned()),
            }
            at += 1;
        }
        let line = tokens.get(start).map_or(0, |t| t.line);
        self.paths.push(PathUse { names, line, inline_depth });
        at
    }
}

/// Whether a `::` after this token continues a path.
fn continues(token: &Token) -> bool {
    (token.is_name() && token.text != "return" && token.text != "in") || token.text == ">"
}

/// Leaves out every item that stands under `#[cfg(test)]`; also says which of them are modules in files of their own.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let mut kept = Vec::new();
    let mut modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let text = |offset: usize| tokens.get(at + offset).map_or("", |t| t.text.as_str());
        if !(text(0) == "#" && text(1) == "[" && text(2) == "cfg" && text(4) == "test" && text(5) == ")") {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at = end_of_brackets(tokens, at + 1);
        while tokens.get(at).is_some_and(|t| t.text == "#") {
            at = end_of_brackets(tokens, at + 1);
        }
        let is_use = tokens[at..].iter().take(5).any(|t| t.text == "use");
        let start = at;
        let mut depth = 0_i32;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" => depth -= 1,
                "}" => {
                    depth -= 1;
                    if depth == 0 && !is_use {
                        break;
                    }
                }
                ";" if depth == 0 => break,
                _ => {}
            }
        }
        let item = &tokens[start..at];
        if let Some(place) = item.iter().position(|t| t.text == "mod")
            && item.last().is_some_and(|t| t.text == ";")
        {
            modules.extend(item.get(place + 1).map(|t| t.text.clone()));
        }
    }
    (kept, modules)
}

fn end_of_brackets(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0_i32;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "[" => depth += 1,
            "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// The names and the punctuation of a source, without comments, strings, characters, lifetimes and numbers.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let is = |at: usize, c: char| chars.get(at) == Some(&c);
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(&c) = chars.get(at) {
        let start = at;
        if c == '/' && is(at + 1, '/') {
            while at < chars.len() && !is(at, '\n') {
                at += 1;
            }
        } else if c == '/' && is(at + 1, '*') {
            at = end_of_comment(&chars, at);
        } else if c == '"' {
            at = end_of_string(&chars, at + 1);
        } else if c == '\'' {
            at = end_of_quote(&chars, at);
        } else if c.is_alphabetic() || c == '_' {
            while chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
                at += 1;
            }
            let name: String = chars[start..at].iter().collect();
            let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
            if matches!(name.as_str(), "r" | "br" | "cr") && is(at + hashes, '"') {
                at = end_of_raw_string(&chars, at + hashes + 1, hashes);
            } else if name == "r" && hashes == 1 {
                at += 1; // a raw identifier: its name follows
            } else if !(matches!(name.as_str(), "b" | "c") && (is(at, '"') || is(at, '\''))) {
                tokens.push(Token { text: name, line });
            }
        } else if c.is_ascii_digit() {
            while chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
                at += 1;
            }
        } else if c == ':' && is(at + 1, ':') {
            tokens.push(Token { text: "::".to_owned(), line });
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token { text: c.to_string(), line });
            }
            at += 1;
        }
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(chars: &[char], mut at: usize) -> usize {
    while let Some(c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_raw_string(chars: &[char], mut at: usize, hashes: usize) -> usize {
    while at < chars.len() {
        let closes = chars[at] == '"' && (1..=hashes).all(|offset| chars.get(at + offset) == Some(&'#'));
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    at
}

/// The end of a character, or of a lifetime.
fn end_of_quote(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let mut end = at + 3;
            while end < chars.len() && chars[end] != '\'' {
                end += 1;
            }
            end + 1
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

//! Parses an expression by jinja2's grammar and writes it for minijinja.
//!
//! Operators with another meaning in minijinja become filters of this crate
//! (`operators`): `a % b` becomes `a|ondol_mod(b)`. Operations that make a list or a
//! text pass through the guard. Each function returns an expression that needs no
//! brackets: a literal, a name, a bracketed expression, or one of these with filters.

use super::guard::GUARD;
use super::tokens::{Kind, Token};
use super::{literal, methods, operators};

/// Most levels of brackets in each other; minijinja's parser allows 150.
const MAX_DEPTH: usize = 60;
/// Names that begin no operand.
const KEYWORDS: [&str; 6] = ["and", "or", "not", "if", "else", "in"];

/// A result whose error is what follows "syntax error: ".
pub(super) type Parsed<T> = Result<T, String>;

/// Reads the tokens of one tag.
pub(super) struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
    depth: usize,
    /// Line breaks that are read and not written yet.
    breaks: usize,
}

impl<'t, 'a> Parser<'t, 'a> {
    /// `tokens` ends with a [`Kind::End`].
    pub(super) fn new(tokens: &'t [Token<'a>]) -> Self {
        Parser {
            tokens,
            at: 0,
            depth: 0,
            breaks: 0,
        }
    }

    fn token(&self) -> Token<'a> {
        self.tokens[self.at]
    }

    fn after(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at + 1)
    }

    /// Whether the next token is this name or sign.
    pub(super) fn sees(&self, text: &str) -> bool {
        self.token().is(text)
    }

    fn advance(&mut self) -> Token<'a> {
        let token = self.token();
        self.breaks += token.breaks;
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Reads the token if it is this one.
    pub(super) fn takes(&mut self, text: &str) -> bool {
        let seen = self.sees(text);
        if seen {
            self.advance();
        }
        seen
    }

    pub(super) fn expects(&mut self, text: &str) -> Parsed<()> {
        if self.takes(text) {
            return Ok(());
        }
        self.unexpected(&format!("`{text}`"))
    }

    pub(super) fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        let found = match self.token() {
            Token {
                kind: Kind::End,
                text,
                ..
            } => text.to_owned(),
            token => format!("`{}`", token.text),
        };
        Err(format!("unexpected {found}, expected {wanted}"))
    }

    /// Whether no token is left.
    pub(super) fn is_done(&self) -> bool {
        self.token().kind == Kind::End
    }

    /// How many tokens are read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The names that were read since `position`.
    pub(super) fn names_since(&self, position: usize) -> impl Iterator<Item = &'a str> {
        let read = &self.tokens[position..self.at];
        read.iter()
            .filter(|token| token.kind == Kind::Name)
            .map(|token| token.text)
    }

    /// Fails where tokens are left. Returns the line breaks to write last.
    pub(super) fn end(&mut self) -> Parsed<String> {
        if self.token().kind != Kind::End {
            return self.unexpected("the end of the tag");
        }
        self.breaks += self.token().breaks;
        Ok(self.line_breaks())
    }

    /// Takes the line breaks that are read and not written yet.
    fn line_breaks(&mut self) -> String {
        "\n".repeat(std::mem::take(&mut self.breaks))
    }

    /// Reads a name and returns it in the form that minijinja accepts.
    pub(super) fn name(&mut self) -> Parsed<String> {
        if self.token().kind != Kind::Name {
            return self.unexpected("a name");
        }
        let token = self.advance();
        Ok(self.line_breaks() + &ascii_name(token.text))
    }

    /// Parses one level deeper, up to [`MAX_DEPTH`].
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("too many brackets in each other".to_owned());
        }
        let read = read(self)?;
        self.depth -= 1;
        Ok(read)
    }

    /// An expression, or a tuple without brackets.
    pub(super) fn tuple(&mut self) -> Parsed<String> {
        self.tuple_of(Self::expression)
    }

    /// As [`Parser::tuple`], without `a if b else c`: for what a `for` tag iterates over.
    pub(super) fn tuple_without_if(&mut self) -> Parsed<String> {
        self.tuple_of(Self::or)
    }

    fn tuple_of(&mut self, item: fn(&mut Self) -> Parsed<String>) -> Parsed<String> {
        let first = item(self)?;
        if !self.sees(",") {
            return Ok(first);
        }
        let mut items = first;
        while self.takes(",") {
            items.push(',');
            if self.token().kind == Kind::End || self.sees(")") {
                break;
            }
            items += &item(self)?;
        }
        Ok(format!("({items})|{GUARD}"))
    }

    /// `a if b else c` and all that binds tighter.
    pub(super) fn expression(&mut self) -> Parsed<String> {
        self.nested(|parser| {
            let mut value = parser.or()?;
            while parser.takes("if") {
                let condition = parser.or()?;
                value = if parser.takes("else") {
                    let other = parser.expression()?;
                    format!("({value} if {condition} else {other})")
                } else {
                    format!("({value} if {condition})")
                };
            }
            Ok(value)
        })
    }

    fn or(&mut self) -> Parsed<String> {
        self.flat(&["or"], Self::and)
    }

    fn and(&mut self) -> Parsed<String> {
        self.flat(&["and"], Self::not)
    }

    /// A chain of operators of one level that minijinja reads as jinja2 does.
    fn flat(&mut self, signs: &[&str], operand: fn(&mut Self) -> Parsed<String>) -> Parsed<String> {
        let first = operand(self)?;
        let mut chain = first;
        let mut is_chain = false;
        while let Some(sign) = signs.iter().find(|sign| self.sees(sign)) {
            self.advance();
            chain += &format!(" {sign} {}", operand(self)?);
            is_chain = true;
        }
        Ok(if is_chain {
            format!("({chain})")
        } else {
            chain
        })
    }

    fn not(&mut self) -> Parsed<String> {
        if !self.takes("not") {
            return self.compare();
        }
        let operand = self.nested(Self::not)?;
        Ok(format!("(not {operand})"))
    }

    fn compare(&mut self) -> Parsed<String> {
        let first = self.sum()?;
        let mut arguments = String::new();
        while let Some(sign) = self.comparison() {
            arguments += &format!(
                "{}'{sign}',{}",
                if arguments.is_empty() { "" } else { "," },
                self.sum()?
            );
        }
        Ok(if arguments.is_empty() {
            first
        } else {
            format!("{first}|{}({arguments})", operators::COMPARE)
        })
    }

    fn comparison(&mut self) -> Option<&'static str> {
        let signs = ["==", "!=", "<=", ">=", "<", ">", "in"];
        if self.sees("not") && self.after().is_some_and(|token| token.is("in")) {
            self.advance();
            self.advance();
            return Some("not in");
        }
        let sign = signs.into_iter().find(|sign| self.sees(sign))?;
        self.advance();
        Some(sign)
    }

    fn sum(&mut self) -> Parsed<String> {
        let mut sum = self.concatenation()?;
        loop {
            let filter = match self.token() {
                token if token.is("+") => operators::ADD,
                token if token.is("-") => operators::SUBTRACT,
                _ => return Ok(sum),
            };
            self.advance();
            sum = format!("{sum}|{filter}({})", self.concatenation()?);
        }
    }

    fn concatenation(&mut self) -> Parsed<String> {
        let first = self.product()?;
        let mut arguments = Vec::new();
        while self.takes("~") {
            arguments.push(self.product()?);
        }
        Ok(if arguments.is_empty() {
            first
        } else {
            format!("{first}|{}({})", operators::CONCAT, arguments.join(","))
        })
    }

    fn product(&mut self) -> Parsed<String> {
        let mut product = self.power()?;
        loop {
            let filter = match self.token() {
                token if token.is("*") => Some(operators::MULTIPLY),
                token if token.is("%") => Some(operators::REMAINDER),
                token if token.is("/") || token.is("//") => None,
                _ => return Ok(product),
            };
            let sign = self.advance().text;
            let factor = self.power()?;
            product = match filter {
                Some(filter) => format!("{product}|{filter}({factor})"),
                None => format!("({product} {sign} {factor})"),
            };
        }
    }

    fn power(&mut self) -> Parsed<String> {
        self.flat(&["**"], Self::unary)
    }

    fn unary(&mut self) -> Parsed<String> {
        let value = self.signed()?;
        self.filtered(value)
    }

    /// A value with its signs, attributes, items and calls, without filters.
    fn signed(&mut self) -> Parsed<String> {
        let filter = match self.token() {
            token if token.is("-") => operators::NEGATE,
            token if token.is("+") => operators::PLUS,
            _ => {
                let primary = self.primary()?;
                return self.postfix(primary);
            }
        };
        self.advance();
        let operand = self.nested(Self::signed)?;
        Ok(format!("{operand}|{filter}"))
    }

    fn primary(&mut self) -> Parsed<String> {
        let token = self.token();
        match token.kind {
            Kind::Text => self.text(),
            Kind::Number => {
                self.advance();
                Ok(self.line_breaks() + &literal::number(token.text)?)
            }
            Kind::Name if !KEYWORDS.contains(&token.text) => self.name(),
            Kind::Sign if token.text == "(" => self.brackets(),
            Kind::Sign if token.text == "[" => self.list(),
            Kind::Sign if token.text == "{" => self.map(),
            _ => self.unexpected("an expression"),
        }
    }

    /// Text literals that follow each other are one literal, as in Python.
    fn text(&mut self) -> Parsed<String> {
        let mut text = String::new();
        while self.token().kind == Kind::Text {
            let token = self.advance();
            literal::push_text(&mut text, token.text)?;
        }
        Ok(format!("{}\"{text}\"", self.line_breaks()))
    }

    fn brackets(&mut self) -> Parsed<String> {
        self.advance();
        if self.takes(")") {
            return Ok(format!("()|{GUARD}"));
        }
        let inner = self.nested(Self::tuple)?;
        self.expects(")")?;
        Ok(inner)
    }

    fn list(&mut self) -> Parsed<String> {
        self.advance();
        let items = self.items("]", Self::expression)?;
        Ok(format!("[{items}]|{GUARD}"))
    }

    fn map(&mut self) -> Parsed<String> {
        self.advance();
        let items = self.items("}", |parser| {
            let key = parser.expression()?;
            parser.expects(":")?;
            Ok(format!("{key}|{}:{}", operators::KEY, parser.expression()?))
        })?;
        Ok(format!("{{{items}}}|{GUARD}"))
    }

    /// Items between commas, up to `close`.
    fn items(&mut self, close: &str, item: impl Fn(&mut Self) -> Parsed<String>) -> Parsed<String> {
        let mut items = String::new();
        while !self.takes(close) {
            if !items.is_empty() {
                self.expects(",")?;
                items.push(',');
                if self.takes(close) {
                    break;
                }
            }
            items += &item(self)?;
        }
        Ok(items + &self.line_breaks())
    }

    /// Attributes, items and calls after a value.
    fn postfix(&mut self, mut value: String) -> Parsed<String> {
        loop {
            if self.takes(".") {
                value = self.attribute(value)?;
            } else if self.takes("[") {
                value = self.item(value)?;
            } else if self.takes("(") {
                value = self.call(value)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn call(&mut self, value: String) -> Parsed<String> {
        let arguments = self.arguments()?;
        Ok(match value.strip_suffix(".cycle") {
            Some(value) => format!("{value}|{}({arguments})", operators::CYCLE),
            None => format!("{}({arguments})|{GUARD}", in_brackets(value)),
        })
    }

    fn attribute(&mut self, value: String) -> Parsed<String> {
        let token = self.token();
        let value = in_brackets(value);
        match token.kind {
            Kind::Number if token.text.bytes().all(|b| b.is_ascii_digit()) => {
                self.advance();
                Ok(format!("{value}[{}{}]", self.line_breaks(), token.text))
            }
            Kind::Name if !token.text.is_ascii() => {
                self.advance();
                Ok(format!("{value}[{}'{}']", self.line_breaks(), token.text))
            }
            Kind::Name => {
                self.advance();
                let breaks = self.line_breaks();
                let name = token.text;
                Ok(if methods::NAMES.contains(&name) && !self.sees("(") {
                    format!("{value}|{}({breaks}'{name}')", operators::METHOD)
                } else {
                    format!("{value}.{breaks}{name}")
                })
            }
            _ => self.unexpected("a name or a number"),
        }
    }

    /// The item or the slice in brackets.
    fn item(&mut self, value: String) -> Parsed<String> {
        let mut parts = vec![String::new()];
        while !self.sees("]") {
            if self.takes(":") {
                parts.push(String::new());
            } else if parts.last().is_some_and(String::is_empty) {
                let part = self.nested(Self::tuple)?;
                parts.pop();
                parts.push(part);
            } else {
                break;
            }
        }
        self.expects("]")?;
        let breaks = self.line_breaks();
        match parts.as_slice() {
            [index] if !index.is_empty() => Ok(format!("{}[{index}{breaks}]", in_brackets(value))),
            [_, _] | [_, _, _] => {
                let none = |part: &String| {
                    if part.is_empty() {
                        "none".to_owned()
                    } else {
                        part.clone()
                    }
                };
                let parts: Vec<String> = parts.iter().map(none).collect();
                Ok(format!(
                    "{value}|{}({}{breaks})",
                    operators::SLICE,
                    parts.join(",")
                ))
            }
            _ => Err("a subscript needs an index or a slice".to_owned()),
        }
    }

    /// Arguments of a call, after its bracket.
    pub(super) fn arguments(&mut self) -> Parsed<String> {
        self.nested(|parser| {
            parser.items(")", |parser| {
                if parser.takes("**") {
                    return Ok(format!("**{}", parser.expression()?));
                }
                if parser.takes("*") {
                    return Ok(format!("*{}", parser.expression()?));
                }
                let named = parser.token().kind == Kind::Name
                    && parser.after().is_some_and(|token| token.is("="));
                if named {
                    let name = parser.name()?;
                    parser.advance();
                    return Ok(format!("{name}={}", parser.expression()?));
                }
                parser.expression()
            })
        })
    }

    /// Filters and tests after a value.
    fn filtered(&mut self, mut value: String) -> Parsed<String> {
        loop {
            if self.takes("|") {
                value = format!("{value}|{}|{GUARD}", self.filter()?);
            } else if self.takes("is") {
                value = self.test(value)?;
            } else if self.takes("(") {
                let arguments = self.arguments()?;
                value = format!("({value})({arguments})|{GUARD}");
            } else {
                return Ok(value);
            }
        }
    }

    /// A filter's name and arguments.
    pub(super) fn filter(&mut self) -> Parsed<String> {
        let name = self.name()?;
        if !self.takes("(") {
            return Ok(name);
        }
        Ok(format!("{name}({})", self.arguments()?))
    }

    fn test(&mut self, value: String) -> Parsed<String> {
        let negated = if self.takes("not") { "not " } else { "" };
        let name = self.name()?;
        let token = self.token();
        let starts = match token.kind {
            Kind::Text | Kind::Number => true,
            Kind::Name => {
                !["else", "or", "and"].contains(&token.text) && !KEYWORDS.contains(&token.text)
            }
            Kind::Sign => matches!(token.text, "(" | "[" | "{"),
            Kind::End => false,
        };
        if token.is("is") {
            return Err("tests can't be chained by `is`".to_owned());
        }
        let arguments = if token.is("(") {
            self.advance();
            format!("({})", self.arguments()?)
        } else if starts {
            let primary = self.primary()?;
            format!("({})", self.postfix(primary)?)
        } else {
            String::new()
        };
        Ok(format!("({value} is {negated}{name}{arguments})"))
    }
}

/// The value, in brackets unless `.`, `[` and `(` can follow it without.
fn in_brackets(value: String) -> String {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let plain = value.chars().all(name) && !value.starts_with(|c: char| c.is_ascii_digit());
    let item = value.ends_with(']') && !value.contains('|') && !value.starts_with('[');
    if plain || item {
        value
    } else {
        format!("({value})")
    }
}

/// minijinja's names are ASCII; other letters are spelled out.
fn ascii_name(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    let letters = name.chars().map(|c| match c {
        c if c.is_ascii() => c.to_string(),
        c => format!("_u{:x}_", u32::from(c)),
    });
    letters.collect()
}

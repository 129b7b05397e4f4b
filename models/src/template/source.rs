//! Rewrites a template's source before minijinja compiles it. Line numbers stay the
//! same, so that errors name the line of the file's own template.
//!
//! - Line breaks of all systems become line feeds, as jinja2 reads them.
//! - Expressions are rewritten (see `expression`): operators get Python's meaning, and
//!   values pass through a guard where they are made. minijinja counts steps for what an
//!   operation produces, not for the values that it visits on the way, and a few steps
//!   can build a list of lists whose text is petabytes, or a namespace that holds
//!   itself.
//! - `{% generation %}`, which marks the model's own words for training, becomes
//!   `{% with %}`, because it has a scope.
//! - `set` and `filter` blocks get a scope, as in jinja2.
//! - `else` of a loop runs where no iteration reached its end, as in jinja2; minijinja runs
//!   it where there was no iteration.
//! - `break` and `continue` that minijinja can't execute are refused (see `blocks`).
//! - A line break after `{% raw %}` stays, as in jinja2.
//! - Tags so long that compiling them would need an unbounded stack are refused.

use std::borrow::Cow;

use super::blocks::Blocks;
use super::expression::{Parsed, Parser};
use super::guard::{GUARD, GUARD_STORED};
use super::tokens::{self, Kind, Tag};
use crate::{Error, Result};

/// Longest source in bytes; templates in use have up to 30 thousand.
const MAX_SOURCE_BYTES: usize = 256 << 10;
/// Most tokens in one tag: the compiler recurses over chains such as `a + b + c`.
const MAX_TAG_TOKENS: usize = 2_000;
/// Most `elif` tags: the compiler recurses over them.
const MAX_ELIFS: usize = 500;

/// Tags that open a block; `set` does so without `=`.
const BLOCKS: [&str; 7] = ["call", "filter", "for", "generation", "if", "macro", "with"];
/// Tags that have nothing after their name.
const PLAIN: [&str; 9] = [
    "endcall",
    "endfilter",
    "endfor",
    "endif",
    "endmacro",
    "endraw",
    "endset",
    "endwith",
    "raw",
];
/// Written after a tag whose block gets a scope.
const SCOPE: &str = " %}{% with";
/// The name of the namespace that notes whether an iteration of a loop reached its end; a
/// number follows it.
const RAN: &str = "ondol_ran";

/// The source for minijinja.
pub(super) fn rewrite(source: &str) -> Result<String> {
    if source.len() > MAX_SOURCE_BYTES {
        let reason = format!(
            "{} bytes of source, at most {MAX_SOURCE_BYTES} are allowed",
            source.len()
        );
        return Err(Error::Template { reason });
    }
    let source = &*with_line_feeds(source);
    let mut out = String::with_capacity(source.len() * 2);
    let mut rest = source;
    let mut elifs = 0;
    let mut blocks = Blocks::default();
    while let Some(start) = next_tag(rest) {
        let (text, from_tag) = rest.split_at(start);
        out.push_str(text);
        if from_tag.starts_with("{#") {
            let end = from_tag.find("#}").map_or(from_tag.len(), |at| at + 2);
            out.push_str(&from_tag[..end]);
            rest = &from_tag[end..];
            continue;
        }
        let tag = tokens::tag(from_tag);
        let is_statement = from_tag.starts_with("{%");
        elifs += usize::from(is_statement && tag.tokens[0].is("elif"));
        let written = if tag.tokens.len() > MAX_TAG_TOKENS {
            Err("this tag is too long".to_owned())
        } else if elifs > MAX_ELIFS {
            Err("too many `elif`".to_owned())
        } else if is_statement {
            statement(&tag, &mut blocks, &mut out).map_err(syntax_error)
        } else {
            output(&tag).map_err(syntax_error)
        };
        let inner = written.map_err(|reason| {
            let before = source.len() - from_tag.len();
            let line = 1 + source[..before].matches('\n').count();
            Error::Template {
                reason: format!("line {line}: {reason}"),
            }
        })?;
        rest = &from_tag[tag.len..];
        out.push_str(tag.open);
        // Without the space, a sign at the start would belong to the delimiter.
        out.push(' ');
        out.push_str(&inner);
        out.push(' ');
        if is_statement && tag.tokens[0].is("raw") {
            let raw_end = end_of_raw(rest);
            out.push_str(if tag.close == "%}" { "+%}" } else { tag.close });
            out.push_str(&rest[..raw_end]);
            rest = &rest[raw_end..];
        } else {
            out.push_str(tag.close);
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn syntax_error(reason: String) -> String {
    format!("syntax error: {reason}")
}

fn with_line_feeds(source: &str) -> Cow<'_, str> {
    if !source.contains('\r') {
        return Cow::Borrowed(source);
    }
    Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n"))
}

/// Where the next tag or comment starts.
fn next_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes
        .windows(2)
        .position(|pair| matches!(pair, b"{{" | b"{%" | b"{#"))
}

/// Length of what a `{% raw %}` tag quotes; its end tag is not included.
fn end_of_raw(text: &str) -> usize {
    let is_end = |tag: &str| {
        let inner = tag[2..].trim_start_matches(['-', '+']).trim_start();
        inner.starts_with("endraw")
    };
    text.match_indices("{%")
        .map(|(at, _)| at)
        .find(|&at| is_end(&text[at..]))
        .unwrap_or(text.len())
}

/// What stands between `{{` and `}}`.
fn output(tag: &Tag) -> Parsed<String> {
    check_closed(tag)?;
    if tag.close.starts_with('+') {
        return Err("`+}}` is not the end of an expression".to_owned());
    }
    let mut parser = Parser::new(&tag.tokens);
    let value = parser.tuple()?;
    Ok(value + &parser.end()?)
}

fn check_closed(tag: &Tag) -> Parsed<()> {
    match tag.close {
        "" => Err("this tag is not closed".to_owned()),
        _ => Ok(()),
    }
}

/// What stands between `{%` and `%}`; `out` is what was written before the tag.
fn statement(tag: &Tag, blocks: &mut Blocks, out: &mut String) -> Parsed<String> {
    check_closed(tag)?;
    let mut parser = Parser::new(&tag.tokens);
    if tag.tokens[0].kind != Kind::Name {
        return parser.unexpected("the name of a tag");
    }
    let keyword = parser.name()?;
    let word = keyword.trim_start();
    let at = out.len() + tag.open.len() + 1;
    if let Some(block) = BLOCKS.into_iter().find(|block| *block == word) {
        blocks.open(block, at);
    }
    let was_else = word.starts_with("end") && word != "endraw" && blocks.close();
    let body = match word {
        "if" | "elif" => parser.tuple()?,
        "for" => for_loop(&mut parser, blocks)?,
        "set" => {
            let target = targets(&mut parser)?;
            if parser.takes("=") {
                assignment(&target, &mut parser)?
            } else {
                blocks.open("set", at);
                gathering(target, &mut parser)? + SCOPE
            }
        }
        "with" => bindings(&mut parser)?,
        "macro" => {
            let name = parser.name()?;
            format!("{name}{}", parameters(&mut parser)?)
        }
        "call" => call(&mut parser)?,
        "filter" => filters(&mut parser)? + SCOPE,
        "else" => match blocks.begin_else()? {
            Some(at) => return else_of_loop(&mut parser, &keyword, at, out),
            None => String::new(),
        },
        "break" | "continue" => blocks.jump(word).map(|()| String::new())?,
        "generation" => return replaced(&mut parser, &keyword, "with"),
        "endgeneration" => return replaced(&mut parser, &keyword, "endwith"),
        "endfor" if was_else => return replaced(&mut parser, &keyword, "endif"),
        "endset" | "endmacro" | "endcall" if !parser.is_done() => {
            parser.name().map(|_| String::new())?
        }
        word if PLAIN.contains(&word) => String::new(),
        word => return Err(format!("unknown tag `{word}`")),
    };
    let end_of_scope = match word {
        "endset" | "endfilter" => "endwith %}{% ",
        _ => "",
    };
    Ok(format!("{end_of_scope}{keyword} {body}{}", parser.end()?))
}

/// `else` of a loop with jumps. The tag of the loop starts at `at` of `out`. The rewritten
/// loop notes the end of an iteration in a namespace.
fn else_of_loop(parser: &mut Parser, keyword: &str, at: usize, out: &mut String) -> Parsed<String> {
    let ran = format!("{RAN}{at}");
    out.insert_str(at, &format!("set {ran} = namespace() %}}{{% "));
    let end = format!("set {ran}.out = true %}}{{% endfor %}}{{% if not {ran}.out");
    replaced(parser, keyword, &end)
}

fn replaced(parser: &mut Parser, keyword: &str, with: &str) -> Parsed<String> {
    let breaks = &keyword[..keyword.len() - keyword.trim_start().len()];
    Ok(format!("{breaks}{with}{}", parser.end()?))
}

fn for_loop(parser: &mut Parser, blocks: &mut Blocks) -> Parsed<String> {
    let target = targets(parser)?;
    parser.expects("in")?;
    let mut body = format!(
        "{target} in {}|{}",
        parser.tuple_without_if()?,
        super::operators::ITERATE
    );
    if parser.takes("if") {
        body += &format!(" if {}", parser.expression()?);
    }
    if parser.takes("recursive") {
        body += " recursive";
        blocks.recurse();
    }
    Ok(body)
}

/// Names that values are bound to, which may be in brackets.
fn targets(parser: &mut Parser) -> Parsed<String> {
    let mut names = String::new();
    loop {
        if parser.takes("(") {
            let inner = targets(parser)?;
            parser.expects(")")?;
            names += &format!("({inner})");
        } else {
            names += &parser.name()?;
        }
        while parser.takes(".") {
            names += &format!(".{}", parser.name()?);
        }
        if !parser.takes(",") {
            return Ok(names);
        }
        names.push(',');
        if parser.sees("in") || parser.sees("=") || parser.sees(")") {
            return Ok(names);
        }
    }
}

/// The value of `set x = value` passes through the guard.
fn assignment(target: &str, parser: &mut Parser) -> Parsed<String> {
    let guard = if target.contains('.') {
        GUARD_STORED
    } else {
        GUARD
    };
    let value = parser.tuple()?;
    let unpack = match target.contains(',') {
        true => format!("|{}", super::operators::UNPACK),
        false => String::new(),
    };
    Ok(format!("{target} = {value}|{guard}{unpack}"))
}

/// `set x|filter` without `=`, which collects the text of its block.
fn gathering(target: String, parser: &mut Parser) -> Parsed<String> {
    let mut body = target;
    while parser.takes("|") {
        body += &format!("|{}", parser.filter()?);
    }
    Ok(body)
}

fn bindings(parser: &mut Parser) -> Parsed<String> {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    while !parser.is_done() {
        if !names.is_empty() {
            parser.expects(",")?;
        }
        names.push(parser.name()?);
        parser.expects("=")?;
        values.push(parser.expression()?);
    }
    Ok(match names.len() {
        0 => String::new(),
        1 => format!("{} = {}", names[0], values[0]),
        // All names are bound at once, so that no value can refer to another's name.
        _ => format!("({}) = ({})", names.join(","), values.join(",")),
    })
}

/// Parameters of a macro or a call, with their brackets.
fn parameters(parser: &mut Parser) -> Parsed<String> {
    parser.expects("(")?;
    let mut parameters = Vec::new();
    let mut names = Vec::new();
    while !parser.takes(")") {
        if !parameters.is_empty() {
            parser.expects(",")?;
            if parser.takes(")") {
                break;
            }
        }
        let name = parser.name()?;
        if parser.takes("=") {
            let from = parser.position();
            let default = parser.expression()?;
            // minijinja would evaluate the other parameter as undefined, without an error.
            if parser
                .names_since(from)
                .any(|other| names.iter().any(|name| name == other))
            {
                return Err("a default can't refer to another parameter".to_owned());
            }
            parameters.push(format!("{name}={default}"));
        } else {
            parameters.push(name.clone());
        }
        names.push(name.trim().to_owned());
    }
    Ok(format!("({})", parameters.join(",")))
}

/// `call(parameters) macro(arguments)`. minijinja's grammar has a plain call here, so
/// nothing is added to it.
fn call(parser: &mut Parser) -> Parsed<String> {
    let parameters = match parser.sees("(") {
        true => parameters(parser)?,
        false => String::new(),
    };
    let name = parser.name()?;
    parser.expects("(")?;
    Ok(format!("{parameters} {name}({})", parser.arguments()?))
}

fn filters(parser: &mut Parser) -> Parsed<String> {
    let mut filters = vec![parser.filter()?];
    while parser.takes("|") {
        filters.push(parser.filter()?);
    }
    Ok(filters.join("|"))
}

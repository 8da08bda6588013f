//! Own strict lexer: refuses every spelling that two lexers could read differently.
//!
//! The parser's lexer and the server's are not the same program. Where they could disagree about where a comment,
//! string or identifier ends, a statement could mean one thing here and another there; such texts are refused
//! before anybody parses them. What is left is compared with the parser's own tokens in `dialect`.

use crate::{Problem, Reason};

/// One token: its class and where it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) class: Class,
    /// Byte offset of its first character.
    pub(crate) start: usize,
    /// Byte offset behind its last character.
    pub(crate) end: usize,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// An unquoted identifier or keyword.
    Word,
    /// `"..."`.
    Quoted,
    /// `'...'`.
    String,
    /// `x'...'`, two hexadecimal digits a byte.
    Hex,
    /// `$$...$$`.
    Dollar,
    /// A number.
    Number,
    /// `$name`, `$1`, `?`, or the `$` at the end of a row pattern.
    Placeholder,
    /// One character of punctuation.
    Symbol,
}

/// The tokens up to the end, or up to the first thing that is refused.
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) problem: Option<Problem>,
}

impl Token {
    /// Its text.
    pub(crate) fn text<'a>(&self, source: &'a str) -> &'a str {
        source.get(self.start..self.end).unwrap_or_default()
    }

    /// What stands between its quotes, as written.
    pub(crate) fn inner<'a>(&self, source: &'a str) -> &'a str {
        let (before, behind) = match self.class {
            Class::Quoted | Class::String => (1, 1),
            Class::Hex => (2, 1),
            Class::Dollar => (2, 2),
            Class::Word | Class::Number | Class::Placeholder | Class::Symbol => (0, 0),
        };
        source.get(self.start + before..self.end - behind).unwrap_or_default()
    }

    /// Whether it is this keyword (written here in upper case).
    pub(crate) fn is(&self, source: &str, keyword: &str) -> bool {
        self.class == Class::Word && self.text(source).eq_ignore_ascii_case(keyword)
    }

    /// Whether it is this character of punctuation.
    pub(crate) fn is_symbol(&self, source: &str, symbol: char) -> bool {
        self.class == Class::Symbol && self.text(source).starts_with(symbol)
    }
}

/// Cuts a text into tokens.
pub(crate) fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer { text, bytes: text.as_bytes(), at: 0, tokens: Vec::new() };
    let problem = lexer.run().err().map(|(message, offset)| Problem {
        reason: Reason::Ambiguous,
        message,
        offset: Some(offset),
    });
    Lexed { tokens: lexer.tokens, problem }
}

/// What a string literal means, where it holds no escapes.
pub(crate) fn plain_string(raw: &str) -> Option<String> {
    if raw.contains('\\') { None } else { Some(raw.replace("''", "'")) }
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
}

type Refused = (String, usize);

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), Refused> {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' => self.at += 1,
                b'\r' if self.next() == Some(b'\n') => self.at += 2,
                b'-' if self.next() == Some(b'-') => self.line_comment()?,
                b'/' if self.next() == Some(b'/') => {
                    self.comment_stands_free()?;
                    self.line_comment()?;
                }
                b'/' if self.next() == Some(b'*') => self.block_comment()?,
                b'\'' => self.string()?,
                b'"' => self.quoted()?,
                b'$' => self.dollar()?,
                b'?' => self.push(Class::Placeholder, self.at + 1),
                b'0'..=b'9' => self.number()?,
                b'.' if self.next().is_some_and(|n| n.is_ascii_digit()) && !self.is_glued() => {
                    self.number()?;
                }
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word()?,
                b'#' => return self.refuse("`#` does not start a comment in Snowflake; use `--`"),
                b'`' => return self.refuse("quote identifiers with `\"`, not with backticks"),
                b'\\' => return self.refuse("a backslash outside of a string literal"),
                b'!'..=b'~' => self.push(Class::Symbol, self.at + 1),
                b'\r' => return self.refuse("a lone carriage return; end lines with a line feed"),
                _ => {
                    return self.refuse(
                        "a control or non-ASCII character outside of quotes; use plain spaces and quote such names",
                    );
                }
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<u8> {
        self.bytes.get(self.at + 1).copied()
    }

    fn refuse<T>(&self, message: &str) -> Result<T, Refused> {
        Err((message.to_owned(), self.at))
    }

    fn push(&mut self, class: Class, end: usize) {
        self.tokens.push(Token { class, start: self.at, end });
        self.at = end;
    }

    /// Whether the token before ends right here and could continue as a path: then `.` is a dot, not a number.
    fn is_glued(&self) -> bool {
        self.tokens.last().is_some_and(|last| {
            last.end == self.at
                && match last.class {
                    Class::Word | Class::Quoted | Class::Placeholder => true,
                    Class::Symbol => matches!(last.text(self.text), ")" | "]" | "."),
                    Class::String | Class::Hex | Class::Dollar | Class::Number => false,
                }
        })
    }

    /// `@stage//path` is a path to one lexer and a comment to another.
    fn comment_stands_free(&self) -> Result<(), Refused> {
        match self.at.checked_sub(1).and_then(|before| self.bytes.get(before)) {
            None | Some(b' ' | b'\t' | b'\n' | b',' | b'(' | b')' | b';') => Ok(()),
            Some(_) => {
                self.refuse("`//` glued to what stands before it; put a space before a comment")
            }
        }
    }

    fn line_comment(&mut self) -> Result<(), Refused> {
        let rest = &self.text[self.at..];
        let length = rest.find('\n').unwrap_or(rest.len());
        self.comment_text(&rest[..length], true)?;
        self.at += length;
        Ok(())
    }

    fn block_comment(&mut self) -> Result<(), Refused> {
        let body = &self.text[self.at + 2..];
        let Some(length) = body.find("*/") else {
            return self.refuse("a block comment without an end");
        };
        if body[..length].contains("/*") {
            return self.refuse("a comment inside of a comment");
        }
        self.comment_text(&body[..length], false)?;
        self.at += length + 4;
        Ok(())
    }

    /// Characters that some lexers take for the end of a line.
    fn comment_text(&self, comment: &str, line: bool) -> Result<(), Refused> {
        let comment = if line { comment.strip_suffix('\r').unwrap_or(comment) } else { comment };
        let mut characters = comment.chars().peekable();
        while let Some(character) = characters.next() {
            let ends_line = match character {
                '\r' => line || characters.peek() != Some(&'\n'),
                '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\0' => true,
                _ => false,
            };
            if ends_line {
                return self.refuse("a character in a comment that could end the line");
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Refused> {
        let glued = self.tokens.last().is_some_and(|last| {
            last.end == self.at
                && matches!(last.class, Class::Word | Class::Placeholder | Class::Hex)
        });
        if glued {
            return self.refuse("a prefix glued to a string literal; put a space between them");
        }
        let mut at = self.at + 1;
        loop {
            match self.bytes.get(at) {
                None => return self.refuse("a string literal without an end"),
                Some(b'\\') => {
                    // The escaped character may be of several bytes; its continuation bytes are never a quote.
                    at += 2;
                }
                Some(b'\'') if self.bytes.get(at + 1) == Some(&b'\'') => at += 2,
                Some(b'\'') => break,
                Some(0) => return self.refuse("a NUL character"),
                Some(_) => at += 1,
            }
        }
        self.push(Class::String, at + 1);
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), Refused> {
        let mut at = self.at + 1;
        loop {
            match self.bytes.get(at) {
                None => return self.refuse("a quoted identifier without an end"),
                Some(b'"') if self.bytes.get(at + 1) == Some(&b'"') => at += 2,
                Some(b'"') => break,
                Some(0) => return self.refuse("a NUL character"),
                Some(_) => at += 1,
            }
        }
        if at == self.at + 1 {
            return self.refuse("an empty quoted identifier");
        }
        self.push(Class::Quoted, at + 1);
        Ok(())
    }

    fn dollar(&mut self) -> Result<(), Refused> {
        if self.next() == Some(b'$') {
            let body = &self.text[self.at + 2..];
            let Some(length) = body.find("$$") else {
                return self.refuse("a `$$` string without an end");
            };
            if body[length + 2..].starts_with('$') {
                return self.refuse("a `$` glued to the end of a `$$` string");
            }
            self.push(Class::Dollar, self.at + length + 4);
            return Ok(());
        }
        let end = self.end_of(self.at + 1, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if end == self.at + 1 {
            // The end of a partition in the PATTERN of MATCH_RECOGNIZE; the parser knows it nowhere else.
            return match self.bytes.get(end) {
                Some(b' ' | b'\t' | b'\n' | b')') => {
                    self.push(Class::Placeholder, end);
                    Ok(())
                }
                _ => self.refuse("a lone `$`"),
            };
        }
        if self.bytes.get(end) == Some(&b'$') {
            return self.refuse("a `$tag$`: it is a string to one lexer and a variable to another");
        }
        self.push(Class::Placeholder, end);
        Ok(())
    }

    fn word(&mut self) -> Result<(), Refused> {
        let end = self
            .end_of(self.at, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'));
        if self.text[self.at..end].contains("$$") {
            return self.refuse("`$$` inside of an identifier");
        }
        if matches!(&self.text[self.at..end], "x" | "X") && self.bytes.get(end) == Some(&b'\'') {
            let close = self.end_of(end + 1, |byte| byte.is_ascii_hexdigit());
            if self.bytes.get(close) == Some(&b'\'') && (close - end) % 2 == 1 {
                self.push(Class::Hex, close + 1);
                return Ok(());
            }
        }
        self.push(Class::Word, end);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Refused> {
        let digits = |lexer: &Self, from| lexer.end_of(from, |byte| byte.is_ascii_digit());
        let mut end = digits(self, self.at);
        if self.bytes.get(end) == Some(&b'.') {
            end = digits(self, end + 1);
        }
        if matches!(self.bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(self, end + 1 + sign);
            if exponent > end + 1 + sign {
                end = exponent;
            }
        }
        if self
            .bytes
            .get(end)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.'))
        {
            return self.refuse("a number glued to what follows it; put a space between them");
        }
        self.push(Class::Number, end);
        Ok(())
    }

    fn end_of(&self, from: usize, belongs: impl Fn(u8) -> bool) -> usize {
        self.bytes[from..]
            .iter()
            .position(|byte| !belongs(*byte))
            .map_or(self.bytes.len(), |n| from + n)
    }
}

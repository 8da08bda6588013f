//! Spellings of Snowflake that the parser lacks, each put as a plain one that means the same. It works on the parser's
//! own tokens, after they were compared with ours; what is sent upstream is always the text as it came.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::OWN;

/// Words before JOIN, behind which DIRECTED can only be the hint.
const JOINS: &[&str] = &["INNER", "CROSS", "LEFT", "RIGHT", "FULL", "OUTER"];

/// Types whose elements may be declared: `ARRAY(INT)`, `OBJECT(a INT)`, `MAP(VARCHAR, INT)`.
const STRUCTURED: &[&str] = &["ARRAY", "OBJECT", "MAP"];

/// Puts the tokens as the parser knows them. In a chain, `FROM $1` reads the result before it: it becomes a name that
/// no other relation can have.
pub(super) fn plain(tokens: Vec<TokenWithSpan>, chained: bool) -> Vec<TokenWithSpan> {
    let edits = Reader::new(&tokens).edits(chained);
    if edits.is_empty() {
        return tokens;
    }
    let mut edits = edits.into_iter().peekable();
    let mut put = Vec::with_capacity(tokens.len());
    for (index, token) in tokens.into_iter().enumerate() {
        match edits.next_if(|(at, _)| *at == index) {
            None => put.push(token),
            Some((_, instead)) => {
                let span = token.span;
                put.extend(instead.into_iter().map(|token| TokenWithSpan { token, span }));
            }
        }
    }
    put
}

/// What stands instead of a token, ascending by place and each place once.
type Edits = std::collections::BTreeMap<usize, Vec<Token>>;

struct Reader<'a> {
    tokens: &'a [TokenWithSpan],
    /// Places of what is neither space nor comment.
    code: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(tokens: &'a [TokenWithSpan]) -> Self {
        let is_code = |token: &Token| !matches!(token, Token::Whitespace(_) | Token::EOF);
        let code = (0..tokens.len()).filter(|index| is_code(&tokens[*index].token)).collect();
        Self { tokens, code }
    }

    fn at(&self, index: usize) -> Option<&'a Token> {
        self.code.get(index).map(|place| &self.tokens[*place].token)
    }

    fn back(&self, index: usize, by: usize) -> Option<&'a Token> {
        index.checked_sub(by).and_then(|index| self.at(index))
    }

    fn is(&self, index: usize, words: &[&str]) -> bool {
        is_word(self.at(index), words)
    }

    fn edits(&self, chained: bool) -> Edits {
        let mut edits = Edits::new();
        let mut put = |index: usize, tokens: Vec<Token>| {
            if let Some(place) = self.code.get(index) {
                edits.insert(*place, tokens);
            }
        };
        // Whose brackets are open.
        let mut brackets = Vec::new();
        // A query has begun: what stands there is no clause of a definition.
        let mut in_query = false;
        // At which depths a list of CTEs began.
        let mut ctes = Vec::new();
        for index in 0..self.code.len() {
            let before = |by| self.back(index, by);
            match self.at(index) {
                Some(Token::LParen) if self.names_function(index) => {
                    for (offset, tokens) in self.function(index).into_iter().enumerate() {
                        put(index - 1 + offset, tokens);
                    }
                    brackets.push(Bracket::Other);
                }
                Some(Token::LParen) => brackets.push(Bracket::of(before(1))),
                Some(Token::RParen) => {
                    brackets.pop();
                    ctes.retain(|depth| *depth <= brackets.len());
                }
                Some(Token::Word(_)) if self.is(index, &["WITH"]) => ctes.push(brackets.len()),
                Some(Token::Word(_)) if self.is(index, &["SELECT"]) => {
                    in_query = true;
                    ctes.retain(|depth| *depth < brackets.len());
                }
                // `{*}` is the object of all columns.
                Some(Token::LBrace) if self.is_star(index + 1) => {
                    if let Some(close) = self.close(index) {
                        put(index, vec![Token::make_word("OBJECT_CONSTRUCT", None), Token::LParen]);
                        put(close, vec![Token::RParen]);
                    }
                }
                Some(Token::DoubleColon) => self.structured(index, &mut put),
                Some(Token::Word(_))
                    if self.is(index, &["AS"]) && brackets.last() == Some(&Bracket::Cast) =>
                {
                    self.structured(index, &mut put);
                }
                // Of which rows of a match a measure speaks.
                Some(Token::Word(_))
                    if self.is(index, &["FINAL", "RUNNING"])
                        && brackets.last() == Some(&Bracket::Match)
                        && (is_word(before(1), &["MEASURES"])
                            || before(1) == Some(&Token::Comma))
                        && matches!(self.at(index + 1), Some(Token::Word(_)))
                        && !self.is(index + 1, &["AS"]) =>
                {
                    put(index, Vec::new());
                }
                // PRIOR in the SELECT list: like the root's, another row's value of the column.
                Some(Token::Word(_))
                    if self.is(index, &["PRIOR"])
                        && (is_word(before(1), &["SELECT"])
                            || before(1) == Some(&Token::Comma))
                        && matches!(self.at(index + 1), Some(Token::Word(_)))
                        && !self.is(index + 1, &["AS", "FROM"]) =>
                {
                    put(index, vec![Token::make_keyword("CONNECT_BY_ROOT")]);
                }
                Some(Token::Word(_))
                    if self.is(index, &["DIRECTED"])
                        && self.is(index + 1, &["JOIN"])
                        && is_word(before(1), JOINS) =>
                {
                    put(index, Vec::new());
                }
                Some(Token::Word(_))
                    if self.is(index, &["LOCAL"])
                        && is_word(before(1), &["WITH"])
                        && self.is(index + 1, &["TIME"])
                        && self.is(index + 2, &["ZONE"]) =>
                {
                    put(index, Vec::new());
                }
                // A sample of a constant size changes no column; the parser knows it behind plain tables only.
                Some(Token::Word(_))
                    if self.is(index, &["TABLESAMPLE"])
                        || self.is(index, &["SAMPLE"]) && before(1) == Some(&Token::RParen) =>
                {
                    for index in index..self.sample(index) {
                        put(index, Vec::new());
                    }
                }
                // `DATE_PART(year FROM x)` is `DATE_PART(year, x)`.
                Some(Token::Word(_))
                    if self.is(index, &["FROM"])
                        && matches!(
                            before(1),
                            Some(Token::Word(_) | Token::SingleQuotedString(_))
                        )
                        && before(2) == Some(&Token::LParen)
                        && is_word(before(3), &["DATE_PART"]) =>
                {
                    put(index, vec![Token::Comma]);
                }
                // `NTH_VALUE(x, 2) FROM FIRST IGNORE NULLS OVER (...)` counts from an end of the same rows.
                Some(Token::Word(_))
                    if self.is(index, &["FROM"])
                        && before(1) == Some(&Token::RParen)
                        && self.is(index + 1, &["FIRST", "LAST"])
                        && self.is(index + 2, &["IGNORE", "RESPECT"])
                        && self.is(index + 3, &["NULLS"]) =>
                {
                    put(index, Vec::new());
                    put(index + 1, Vec::new());
                }
                Some(Token::Word(_)) if chained && self.is(index, &["FROM", "JOIN"]) => {
                    if let Some(Token::Placeholder(name)) = self.at(index + 1) {
                        put(index + 1, vec![Token::make_word(name, Some('"'))]);
                    }
                }
                // `WITH t (SELECT ...)`: AS may be left out. Anywhere but in a list of CTEs AS makes no sense.
                Some(Token::Word(_))
                    if self.at(index + 1) == Some(&Token::LParen)
                        && self.is(index + 2, &["SELECT", "WITH"])
                        && (is_word(before(1), &["WITH", "RECURSIVE"])
                            || before(1) == Some(&Token::Comma)
                                && before(2) == Some(&Token::RParen)
                                && ctes.last() == Some(&brackets.len())) =>
                {
                    put(index + 1, vec![Token::make_keyword("AS"), Token::LParen]);
                }
                // `FILTER (WHERE ...)` behind a call becomes an argument of it, of a name that no other has.
                Some(Token::Word(_))
                    if self.is(index, &["FILTER"])
                        && before(1) == Some(&Token::RParen)
                        && self.at(index + 1) == Some(&Token::LParen)
                        && self.is(index + 2, &["WHERE"]) =>
                {
                    put(index - 1, vec![Token::Comma]);
                    put(index, vec![Token::make_word("FILTER", Some(OWN)), Token::RArrow]);
                    put(index + 2, Vec::new());
                    if let Some(close) = self.close(index + 1) {
                        put(close, vec![Token::RParen, Token::RParen]);
                    }
                }
                // `FROM t AT`: words of a clause only before its bracket, and an alias otherwise.
                Some(Token::Word(alias))
                    if self.is(index, &["AT", "BEFORE", "CHANGES"])
                        && self.is_named_in_from(index)
                        && self.at(index + 1) != Some(&Token::LParen)
                        && !self.is(index + 1, &["TIME"]) =>
                {
                    let name = alias.value.to_ascii_uppercase();
                    put(index, vec![Token::make_keyword("AS"), Token::make_word(&name, Some('"'))]);
                }
                // What a CREATE says about numbering, tags and grants changes no column and no row.
                Some(Token::Word(_))
                    if !in_query && self.is(0, &["CREATE"]) && self.clause(index) > index =>
                {
                    for index in index..self.clause(index) {
                        put(index, Vec::new());
                    }
                }
                // A method of a model is a function beside it.
                Some(Token::ExclamationMark)
                    if matches!(before(1), Some(Token::Word(_)))
                        && self.at(index + 2) == Some(&Token::LParen) =>
                {
                    if let Some(Token::Word(method)) = self.at(index + 1)
                        && method.quote_style.is_none()
                    {
                        put(index, vec![Token::Period]);
                        put(index + 1, vec![Token::make_word(&method.value, Some(OWN))]);
                    }
                }
                // `MERGE ... UPDATE ALL BY NAME` is `UPDATE SET *` to the parser, `INSERT ALL BY NAME` `INSERT *`.
                Some(Token::Word(_))
                    if self.is(index, &["ALL"])
                        && is_word(before(1), &["UPDATE", "INSERT"])
                        && is_word(before(2), &["THEN"])
                        && self.is(index + 1, &["BY"])
                        && self.is(index + 2, &["NAME"]) =>
                {
                    let set = is_word(before(1), &["UPDATE"]).then(|| Token::make_keyword("SET"));
                    put(index, set.into_iter().chain([Token::Mul]).collect());
                    put(index + 1, Vec::new());
                    put(index + 2, Vec::new());
                }
                Some(Token::Mul) => self.star_options(index, &mut put),
                _ => {}
            }
        }
        edits
    }

    /// Whether the bracket is that of `IDENTIFIER('name')(`: the name of a function, if it is a plain one.
    fn names_function(&self, index: usize) -> bool {
        is_word(self.back(index, 1), &["IDENTIFIER"])
            && self.at(index + 2) == Some(&Token::RParen)
            && self.at(index + 3) == Some(&Token::LParen)
            && matches!(self.at(index + 1), Some(Token::SingleQuotedString(name)) if is_plain(name))
    }

    /// The tokens of that name instead of IDENTIFIER, its bracket, the literal and the closing bracket.
    fn function(&self, index: usize) -> [Vec<Token>; 4] {
        let mut name = Vec::new();
        if let Some(Token::SingleQuotedString(written)) = self.at(index + 1) {
            for part in written.split('.') {
                name.extend((!name.is_empty()).then_some(Token::Period));
                name.push(Token::make_word(part, None));
            }
        }
        [name, Vec::new(), Vec::new(), Vec::new()]
    }

    /// Where a clause of CREATE that the parser lacks ends; where it begins, if there is none.
    fn clause(&self, index: usize) -> usize {
        let before = self.back(index, 1);
        if is_word(before, &["AUTOINCREMENT", "IDENTITY"]) {
            let mut end = index;
            while self.is(end, &["START", "INCREMENT"]) {
                let sign = end + 1;
                let number = sign + usize::from(self.at(sign) == Some(&Token::Minus));
                if !matches!(self.at(number), Some(Token::Number(..))) {
                    return index;
                }
                end = number + 1;
            }
            return if end > index && self.is(end, &["ORDER", "NOORDER"]) { end + 1 } else { end };
        }
        let is_pair = self.is(index, &["COPY"]) && self.is(index + 1, &["TAGS"])
            || self.is(index, &["IGNORE"]) && self.is(index + 1, &["GRANTS"]);
        let is_scope = self.is(index, &["SCOPED"]) && self.is(index + 1, &["TEMP", "TEMPORARY"]);
        index + 2 * usize::from(is_pair) + usize::from(is_scope)
    }

    /// Whether right before stands the name of a table in FROM.
    fn is_named_in_from(&self, mut index: usize) -> bool {
        while matches!(self.back(index, 1), Some(Token::Word(_))) {
            if self.back(index, 2) != Some(&Token::Period) {
                return is_word(self.back(index, 2), &["FROM", "JOIN"]);
            }
            index -= 2;
        }
        false
    }

    /// `*`, or `t.*`.
    fn is_star(&self, mut index: usize) -> bool {
        while matches!(self.at(index), Some(Token::Word(_)))
            && self.at(index + 1) == Some(&Token::Period)
        {
            index += 2;
        }
        self.at(index) == Some(&Token::Mul)
    }

    /// Where `TABLESAMPLE [method] (number [ROWS])` ends; where it begins, if it is anything else.
    fn sample(&self, index: usize) -> usize {
        let method = ["BERNOULLI", "ROW", "SYSTEM", "BLOCK"];
        let open = index + 1 + usize::from(self.is(index + 1, &method));
        let close = open + 2 + usize::from(self.is(open + 2, &["ROWS"]));
        let is_constant = self.at(open) == Some(&Token::LParen)
            && matches!(self.at(open + 1), Some(Token::Number(..)))
            && self.at(close) == Some(&Token::RParen);
        if !is_constant {
            return index;
        }
        let seed = close + 1;
        if !self.is(seed, &["SEED", "REPEATABLE"]) {
            return seed;
        }
        let is_seed = self.at(seed + 1) == Some(&Token::LParen)
            && matches!(self.at(seed + 2), Some(Token::Number(..)))
            && self.at(seed + 3) == Some(&Token::RParen);
        if is_seed { seed + 4 } else { index }
    }

    /// Behind a star the parser knows ILIKE or EXCLUDE but not both, and behind `t.*` among arguments neither: they
    /// become one EXCLUDE, in which words of our own say the rest.
    fn star_options(&self, star: usize, put: &mut impl FnMut(usize, Vec<Token>)) {
        let own = |word: &str| Token::make_word(word, Some(OWN));
        let like = match self.at(star + 2) {
            Some(Token::SingleQuotedString(pattern)) if self.is(star + 1, &["ILIKE"]) => {
                Some(pattern)
            }
            _ => None,
        };
        let exclude = star + 1 + 2 * usize::from(like.is_some());
        let excludes = self.is(exclude, &["EXCLUDE"]);
        let mut relation = star;
        while self.back(relation, 1) == Some(&Token::Period)
            && matches!(self.back(relation, 2), Some(Token::Word(_)))
        {
            relation -= 2;
        }
        let is_needed =
            like.is_some() && excludes || relation < star && (like.is_some() || excludes);
        if !is_needed {
            return;
        }
        let mut list = Vec::new();
        if relation < star {
            list.extend([own("OF"), Token::Period]);
            list.extend((relation..star - 1).filter_map(|part| self.at(part).cloned()));
            list.push(Token::Comma);
            for part in relation..star {
                put(part, Vec::new());
            }
        }
        if let Some(pattern) = like {
            list.extend([own("ILIKE"), Token::Period, own(pattern), Token::Comma]);
            put(star + 1, Vec::new());
            put(star + 2, Vec::new());
        }
        let mut begin = vec![Token::make_keyword("EXCLUDE"), Token::LParen];
        if !excludes {
            list.pop();
            begin.extend(list);
            begin.push(Token::RParen);
            put(star, std::iter::once(Token::Mul).chain(begin).collect());
        } else if self.at(exclude + 1) == Some(&Token::LParen) {
            begin.extend(list);
            put(exclude, begin);
            put(exclude + 1, Vec::new());
        } else if let Some(name @ Token::Word(_)) = self.at(exclude + 1) {
            begin.extend(list);
            begin.extend([name.clone(), Token::RParen]);
            put(exclude, begin);
            put(exclude + 1, Vec::new());
        }
    }

    /// The bracket that closes the one at `index`.
    fn close(&self, index: usize) -> Option<usize> {
        let mut depth = 0;
        for (offset, place) in self.code.get(index..)?.iter().enumerate() {
            match self.tokens[*place].token {
                Token::LParen | Token::LBrace | Token::LBracket => depth += 1,
                Token::RParen | Token::RBrace | Token::RBracket => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(index + offset);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Leaves out what a structured type behind `AS` or `::` declares of its elements: where a value comes from does
    /// not depend on it.
    fn structured(&self, index: usize, put: &mut impl FnMut(usize, Vec<Token>)) {
        let open = index + 2;
        if !self.is(index + 1, STRUCTURED) || self.at(open) != Some(&Token::LParen) {
            return;
        }
        let Some(close) = self.close(open) else { return };
        let is_type = (open..=close).all(|index| match self.at(index) {
            Some(Token::Word(_)) => !self.is(index, &["SELECT", "WITH"]),
            Some(token) => {
                matches!(token, Token::Number(..) | Token::Comma | Token::LParen | Token::RParen)
            }
            None => false,
        });
        if !is_type {
            return;
        }
        let mut end = close + 1;
        while self.is(end, &["RENAME", "ADD"]) && self.is(end + 1, &["FIELDS"]) {
            end += 2;
        }
        for index in open..end {
            put(index, Vec::new());
        }
    }
}

/// Whose an open bracket is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Cast,
    Match,
    Other,
}

impl Bracket {
    fn of(before: Option<&Token>) -> Self {
        if is_word(before, &["CAST", "TRY_CAST"]) {
            Self::Cast
        } else if is_word(before, &["MATCH_RECOGNIZE"]) {
            Self::Match
        } else {
            Self::Other
        }
    }
}

/// Unquoted identifiers with dots between them, and no keyword that begins a query.
fn is_plain(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && !["SELECT", "WITH", "TABLE"].iter().any(|word| part.eq_ignore_ascii_case(word))
    })
}

fn is_word(token: Option<&Token>, words: &[&str]) -> bool {
    match token {
        Some(Token::Word(word)) if word.quote_style.is_none() => {
            words.iter().any(|one| word.value.eq_ignore_ascii_case(one))
        }
        _ => false,
    }
}

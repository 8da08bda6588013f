//! Limits that are counted on tokens, before anything recursive sees the text.
//!
//! The parser limits its depth but not the length of chains (`a AND b AND ...`): they become trees as deep as they
//! are long, and a stack overflow is not a panic that could be caught but the end of the process.

use crate::lexer::{Class, Token};
use crate::{Problem, Reason};

/// Bytes of text.
const TEXT_BYTES: usize = 1 << 20;
/// Tokens.
const TOKENS: usize = 200_000;
/// Brackets inside of brackets.
const DEPTH: usize = 100;
/// UNION, INTERSECT, EXCEPT, MINUS in one text.
const SET_OPERATORS: usize = 500;
/// Operators in one expression: between two commas, brackets or clauses of one level.
const CHAIN: usize = 500;

/// Words that begin a new chain.
const CLAUSES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "QUALIFY",
    "ORDER",
    "JOIN",
    "ON",
    "SET",
    "VALUES",
    "WHEN",
    "THEN",
    "ELSE",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "MINUS",
];

/// Operators that are words.
const OPERATORS: &[&str] = &[
    "AND", "OR", "NOT", "IS", "IN", "LIKE", "ILIKE", "RLIKE", "REGEXP", "BETWEEN", "COLLATE",
    "PRIOR", "AT",
];

/// Whether the text is small enough to be read at all.
pub(crate) fn size(text: &str) -> Result<(), Problem> {
    within(text.len(), TEXT_BYTES, "bytes of text", None)
}

/// Whether the text is flat and short enough to be parsed.
pub(crate) fn shape(text: &str, tokens: &[Token]) -> Result<(), Problem> {
    within(tokens.len(), TOKENS, "tokens", None)?;
    let mut set_operators = 0;
    let mut joins = 0;
    // One counter of operators per open bracket or CASE; the ground level is always there.
    let mut chains = vec![Chain::default()];
    // Behind an operator a clause word can only be a name: it must not end the chain.
    let mut expects_operand = false;
    for token in tokens {
        let offset = Some(token.start);
        let written = token.text(text);
        let is_any = |words: &[&str]| words.iter().any(|word| token.is(text, word));
        let mut is_operator = false;
        match token.class {
            Class::Symbol => match written {
                "(" | "[" | "{" => {
                    // Calls and subscripts chain as well: `a[0][0]...`.
                    bump(&mut chains, offset)?;
                    chains.push(Chain::default());
                    within(
                        chains.len() - 1,
                        DEPTH,
                        "brackets and CASEs inside of each other",
                        offset,
                    )?;
                }
                ")" | "]" | "}" => {
                    while chains.len() > 1 && chains.pop().is_some_and(|chain| chain.is_case) {}
                }
                "," | ";" => reset(&mut chains),
                _ => {
                    is_operator = true;
                    bump(&mut chains, offset)?;
                }
            },
            Class::Word
                if expects_operand && !is_any(&["CASE", "SELECT"]) && !is_any(OPERATORS) => {}
            Class::Word if is_any(&["CASE"]) => {
                bump(&mut chains, offset)?;
                chains.push(Chain { operators: 0, is_case: true });
                within(chains.len() - 1, DEPTH, "brackets and CASEs inside of each other", offset)?;
            }
            Class::Word if is_any(&["END"]) => {
                if chains.len() > 1 && chains.last().is_some_and(|chain| chain.is_case) {
                    chains.pop();
                }
            }
            Class::Word if is_any(OPERATORS) => {
                is_operator = true;
                bump(&mut chains, offset)?;
            }
            Class::Word if is_any(CLAUSES) => {
                if is_any(&["UNION", "INTERSECT", "EXCEPT", "MINUS"]) {
                    set_operators += 1;
                    within(set_operators, SET_OPERATORS, "set operators", offset)?;
                }
                if is_any(&["JOIN"]) {
                    joins += 1;
                    within(joins, CHAIN, "joins", offset)?;
                }
                reset(&mut chains);
            }
            Class::Word
            | Class::Quoted
            | Class::String
            | Class::Hex
            | Class::Dollar
            | Class::Number
            | Class::Placeholder => {}
        }
        expects_operand = is_operator;
    }
    Ok(())
}

#[derive(Default)]
struct Chain {
    operators: usize,
    is_case: bool,
}

fn reset(chains: &mut [Chain]) {
    if let Some(chain) = chains.last_mut() {
        chain.operators = 0;
    }
}

fn bump(chains: &mut [Chain], offset: Option<usize>) -> Result<(), Problem> {
    match chains.last_mut() {
        Some(chain) => {
            chain.operators += 1;
            within(chain.operators, CHAIN, "operators in one expression", offset)
        }
        None => Ok(()),
    }
}

fn within(count: usize, limit: usize, what: &str, offset: Option<usize>) -> Result<(), Problem> {
    if count <= limit {
        return Ok(());
    }
    Err(Problem {
        reason: Reason::Limit,
        message: format!("more than {limit} {what}; split the statement"),
        offset,
    })
}
